package io.qlora.cuda.kernels;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.CudaFunction;
import io.qlora.cuda.driver.CudaDriver.Shape;
import io.qlora.cuda.kernels.CudaMatMul.Form;
import io.qlora.cuda.kernels.CudaMatMul.Product;
import io.qlora.cuda.kernels.ProductArguments.Way;
import java.util.EnumMap;
import java.util.Map;

/**
 * The matrix product of large operands by {@code matmul_wgmma.cu}, on {@link CudaDevice#warpgroups cards that have it}.
 */
final class WarpgroupProduct {

    static final int THREADS = 384;
    static final int STAGES = 4;
    static final int SHORT = 128; // of a tile's sides; in NF4 it has more rows, since a column is decoded
    static final int LONG = 256;
    private static final int LINE_BYTES = 128;
    private static final int SHARED_BYTES = STAGES * (SHORT + LONG) * LINE_BYTES;

    private final CudaDevice device;
    private final Map<Form, CudaFunction> dense = new EnumMap<>(Form.class);
    private final Map<Form, CudaFunction> nf4 = new EnumMap<>(Form.class);

    WarpgroupProduct(CudaDevice device) {
        this.device = device;
        dense.put(Form.NT, device.function("matmul_wgmma", "wgmma_nt"));
        dense.put(Form.NN, device.function("matmul_wgmma", "wgmma_nn"));
        dense.put(Form.TN, device.function("matmul_wgmma", "wgmma_tn"));
        nf4.put(Form.NT, device.function("matmul_wgmma", "wgmma_nt_nf4"));
        nf4.put(Form.NN, device.function("matmul_wgmma", "wgmma_nn_nf4"));
    }

    /** Whether this product is better computed so: by tiles enough for half of the multiprocessors. */
    boolean takes(Product product) {
        Way b = Way.of(product.first().b());
        return device.warpgroups()
                && Way.of(product.first().a()) == Way.COPIED
                && b != Way.ANY
                && product.rows() > SHORT / 2
                && product.cols() > SHORT / 2
                && product.depth(product.first()) > 0
                && 2 * tiles(product) >= device.multiprocessors()
                && Warpgroups.of(device).multiply();
    }

    private static long tiles(Product product) {
        boolean decoded = product.first().b().nf4() != null;
        long rows = Math.ceilDiv(product.rows(), decoded ? LONG : SHORT);
        return rows * Math.ceilDiv(product.cols(), decoded ? SHORT : LONG);
    }

    void launch(Product product) {
        launch(product, device.multiprocessors());
    }

    /** By no more blocks than these, the tiles in turn. */
    void launch(Product product, int most) {
        CudaFunction kernel = (product.first().b().nf4() == null ? dense : nf4).get(product.form());
        int blocks = (int) Math.min(tiles(product), most);
        device.launch(kernel, new Shape(blocks, 1, 1, THREADS, SHARED_BYTES), new ProductArguments(product));
    }
}
