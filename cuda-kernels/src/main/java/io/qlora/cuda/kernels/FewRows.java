package io.qlora.cuda.kernels;

import io.qlora.cuda.ActivationFunction;
import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.CudaFunction;
import io.qlora.cuda.driver.CudaDriver.Shape;
import io.qlora.cuda.kernels.CudaMatMul.Factor;
import io.qlora.cuda.kernels.CudaMatMul.Form;
import io.qlora.cuda.kernels.CudaMatMul.Product;
import io.qlora.engine.tensor.DType;

/** {@code y = x · Wᵀ} for a few rows of x by {@code few_rows.cu}: bound by reading W, once. */
final class FewRows {

    /** Rows of x. */
    static final int MOST = 8;

    static final int OUTPUTS = 16; // columns of y, a block at a time
    private static final int BLOCKS = 3; // a multiprocessor, as many as its shared memory has room for
    private static final int SHARED_BYTES = 64 << 10; // a table, and two stages for each of eight warps

    private final CudaDevice device;
    private final ActivationFunction nf4;
    private final CudaFunction bfloat16;
    private final CudaFunction float32;

    FewRows(CudaDevice device) {
        this.device = device;
        this.nf4 = new ActivationFunction(device, "few_rows", "few_rows_nf4");
        this.bfloat16 = device.function("few_rows", "few_rows_bf16");
        this.float32 = device.function("few_rows", "few_rows_f32");
    }

    /** Whether this product is one of these. */
    static boolean takes(Product product) {
        Factor x = product.first().a();
        Factor w = product.first().b();
        return product.form() == Form.NT
                && product.rows() <= MOST
                && floats(x)
                && (w.nf4() == null ? floats(w) : ProductArguments.wholeBlocks(w));
    }

    private static boolean floats(Factor factor) {
        return factor.nf4() == null && factor.data().dtype() != DType.F16 && ProductArguments.wide(factor);
    }

    void launch(Product product) {
        Factor w = product.first().b();
        int columns = Math.ceilDiv(product.cols(), OUTPUTS);
        ProductArguments arguments = new ProductArguments(product);
        if (w.nf4() == null) {
            CudaFunction kernel = w.data().dtype() == DType.F32 ? float32 : bfloat16;
            device.launch(kernel, Shape.of(columns, Launches.THREADS), arguments);
        } else {
            int blocks = Math.min(columns, BLOCKS * device.multiprocessors());
            Shape shape = new Shape(blocks, 1, 1, Launches.THREADS, SHARED_BYTES);
            device.launch(nf4.of(product.first().a().data()), shape, arguments);
        }
    }
}
