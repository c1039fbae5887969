package io.qlora.cuda.kernels;

import io.qlora.cuda.ActivationFunction;
import io.qlora.cuda.Arguments;
import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.CudaFunction;
import io.qlora.cuda.KernelArguments;
import io.qlora.cuda.Workspace;
import io.qlora.cuda.driver.CudaDriver.Shape;
import io.qlora.cuda.kernels.CudaMatMul.Form;
import io.qlora.cuda.kernels.CudaMatMul.Product;
import io.qlora.cuda.kernels.ProductArguments.Way;
import io.qlora.engine.tensor.Tensor;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;

/** The matrix product by this project's own kernels, {@code matmul.cu} or {@link WarpgroupProduct}: any operands. */
final class TileProduct implements AutoCloseable {

    static final int THREADS = 128;
    private static final int DEPTH = 64; // elements of K a step
    private static final int LINE_BYTES = 128; // of a step's line in shared memory
    private static final int NARROW = 16; // rows or columns
    private static final int LEAST_STEPS = 8; // of a part of K: fewer would be the filling of the pipeline
    private static final int BLOCKS = 4; // a multiprocessor, to keep its memory busy

    /** What a block computes, as {@code matmul.cu} has it. */
    enum Tile {
        LARGE("128", 128, 128, 3),
        SMALL("64", 64, 64, 3),
        FEW_COLUMNS("64_16", 64, 16, 4),
        FEW_ROWS("16_64", 16, 64, 4),
        COPIED_ANY("copied_any", 64, 64, 3),
        ANY("any", 64, 64, 2);

        final String name;
        final int rows;
        final int cols;
        final int stages;

        Tile(String name, int rows, int cols, int stages) {
            this.name = name;
            this.rows = rows;
            this.cols = cols;
            this.stages = stages;
        }

        long count(Product product) {
            return (long) Math.ceilDiv(product.rows(), rows) * Math.ceilDiv(product.cols(), cols);
        }

        int sharedBytes(Form form) {
            return stages * (bytes(rows, form == Form.TN) + bytes(cols, form != Form.NT));
        }

        private static int bytes(int extent, boolean byDepth) {
            return (byDepth ? Math.ceilDiv(extent, DEPTH) * DEPTH : extent) * LINE_BYTES;
        }
    }

    private final CudaDevice device;
    private final Map<String, CudaFunction> kernels = new HashMap<>();
    private final ActivationFunction sum;
    private final Workspace partials;
    private final WarpgroupProduct warpgroups; // null: never

    TileProduct(CudaDevice device) {
        this(device, new WarpgroupProduct(device));
    }

    /** With {@code warpgroups} null by {@code matmul.cu} alone. */
    TileProduct(CudaDevice device, WarpgroupProduct warpgroups) {
        this.device = device;
        this.sum = new ActivationFunction(device, "matmul", "matmul_sum");
        this.partials = new Workspace(device);
        this.warpgroups = warpgroups;
    }

    private record Sum(long partials, int parts, Product product) implements KernelArguments {
        @Override
        public void write(Arguments to) {
            Tensor c = product.c().tensor();
            to.pointer(partials).integer(parts).longInteger(c.size());
            to.real(product.scale()).gradient(product.c());
        }
    }

    void launch(Product product) {
        if (warpgroups != null && warpgroups.takes(product)) {
            warpgroups.launch(product);
            return;
        }
        Tile tile = tile(product);
        int depth = product.depth(product.first());
        int steps = Math.max(1, Math.ceilDiv(depth, DEPTH));
        int each = Math.ceilDiv(steps, parts(tile, product, steps)); // steps a part
        int parts = Math.ceilDiv(steps, each);
        long bytes = (long) Float.BYTES * parts * product.rows() * product.cols();
        long room = parts > 1 ? partials.reserve(bytes) : 0;
        if (room == 0) {
            parts = 1;
            each = steps;
        }
        Shape shape = new Shape(
                Math.ceilDiv(product.rows(), tile.rows),
                Math.ceilDiv(product.cols(), tile.cols),
                parts,
                THREADS,
                tile.sharedBytes(product.form()));
        device.launch(kernel(product, tile), shape, new ProductArguments(product, room, each * DEPTH));
        if (parts > 1) {
            Tensor c = product.c().tensor();
            device.launch(sum.of(c), Launches.threads(c.size()), new Sum(room, parts, product));
        }
    }

    private CudaFunction kernel(Product product, Tile tile) {
        boolean decoded = tile != Tile.COPIED_ANY
                && tile != Tile.ANY
                && product.first().b().nf4() != null;
        String form = product.form().name().toLowerCase(Locale.ROOT);
        String name = "matmul_" + form + (decoded ? "_nf4_" : "_") + tile.name;
        return kernels.computeIfAbsent(name, key -> device.function("matmul", key));
    }

    private Tile tile(Product product) {
        Form form = product.form();
        Way a = Way.of(product.first().a());
        Way b = Way.of(product.first().b());
        if (product.rows() <= NARROW && ((form == Form.NT && b != Way.ANY) || (form == Form.TN && b == Way.COPIED))) {
            return Tile.FEW_ROWS;
        }
        if (a != Way.COPIED) {
            return Tile.ANY;
        }
        if (product.cols() <= NARROW && product.first().b().nf4() == null) {
            return Tile.FEW_COLUMNS;
        }
        if (b == Way.ANY) {
            return form == Form.TN ? Tile.ANY : Tile.COPIED_ANY;
        }
        // large tiles read less, small ones leave fewer multiprocessors idle
        boolean many = product.rows() > Tile.SMALL.rows
                && product.cols() > Tile.SMALL.cols
                && Tile.LARGE.count(product) >= device.multiprocessors();
        return many ? Tile.LARGE : Tile.SMALL;
    }

    /** Into how many parts K is cut, since there are too few tiles to keep all multiprocessors reading. */
    private int parts(Tile tile, Product product, int steps) {
        if (tile == Tile.LARGE || product.rows() == 0 || product.cols() == 0) {
            return 1;
        }
        long wanted = (long) BLOCKS * device.multiprocessors() / tile.count(product);
        return Math.clamp(wanted, 1, Math.max(1, steps / LEAST_STEPS));
    }

    @Override
    public void close() {
        partials.close();
    }
}
