package io.qlora.cuda.kernels;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.Workspace;
import io.qlora.cuda.blas.Blas;
import io.qlora.cuda.blas.Gemm;
import io.qlora.cuda.blas.GemmLibrary;
import io.qlora.cuda.driver.CudaException;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.DeviceBuffer;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;

/**
 * The matrix product by whichever {@link Route} suits: {@code C = scale · (A·B + scale2 · A2·B2)}, or that added to C. One for
 * all kernels of a device.
 */
public final class CudaMatMul implements AutoCloseable {

    private static final System.Logger LOG = System.getLogger(CudaMatMul.class.getName());
    private static final int NF4 = 5; // enum Type
    private static final int ALIGNMENT = 256;

    /** The largest dense operand that is rounded for the library, elements: what an adapter is, what a table is not. */
    private static final long MOST_ROUNDED = 64L << 20;

    /** Which way the operands lie in memory. */
    enum Form {
        /** A [M, K], B [N, K]: x · Wᵀ. */
        NT,
        /** A [M, K], B [K, N]: dy · W. */
        NN,
        /** A [K, M], B [K, N]: dyᵀ · x. */
        TN
    }

    /** An operand: a tensor, or a weight's codes. {@code nf4} is null for a tensor. */
    record Factor(Tensor data, Nf4Weight nf4, int rows, int cols) {

        static Factor of(Tensor tensor) {
            return new Factor(tensor, null, tensor.length(), tensor.cols());
        }

        static Factor of(Weight weight) {
            return switch (weight) {
                case DenseWeight dense -> of(dense.tensor());
                case Nf4Weight nf4 -> new Factor(nf4.codes(), nf4, nf4.out(), nf4.in());
            };
        }

        int type() {
            return nf4 == null ? data.dtype().ordinal() : NF4;
        }

        /** Whether the library can read it as it is. */
        private boolean ready() {
            return nf4 == null && data.dtype() == DType.BF16;
        }

        private long size() {
            return (long) rows * cols;
        }

        /** Bytes of it in bfloat16 where it is not, so that another may follow. */
        private long scratch() {
            return ready() ? 0 : Math.ceilDiv(size() * DType.BF16.bytes(), (long) ALIGNMENT) * ALIGNMENT;
        }
    }

    /** A product of two operands. */
    record Term(Factor a, Factor b) {}

    /** {@code c = scale · (first + scale2 · second)}, or added. {@code second}, of dense factors, is null for none. */
    record Product(Form form, Term first, float scale, Term second, float scale2, Grad c) {

        int rows() {
            return form == Form.TN ? first.a.cols : first.a.rows;
        }

        int cols() {
            return form == Form.NT ? first.b.rows : first.b.cols;
        }

        int depth(Term term) {
            return form == Form.TN ? term.a.rows : term.a.cols;
        }

        /** The extent that is no weight's. */
        private int tokens() {
            return form == Form.TN ? depth(first) : rows();
        }

        private RouteTable.Kind kind() {
            if (first.b.nf4 != null) {
                return RouteTable.Kind.NF4;
            }
            int other = form == Form.TN ? rows() : depth(first);
            return Math.min(cols(), other) <= RouteTable.Kind.MOST ? RouteTable.Kind.NARROW : RouteTable.Kind.DENSE;
        }
    }

    private final CudaDevice device;
    private final TileProduct tiles;
    private final FewRows fewRows;
    private final CudaNf4Codec codec;
    private final CudaCast cast;
    private final Workspace scratch;
    private final RouteCache cache;
    private Route forced; // null: the table decides
    private Blas.Found library; // null: not looked for yet
    private RouteTable table; // null: not looked for yet
    private boolean refused; // the library failed once, it is not asked again

    CudaMatMul(CudaDevice device) {
        this.device = device;
        this.tiles = new TileProduct(device);
        this.fewRows = new FewRows(device);
        this.codec = new CudaNf4Codec(device);
        this.cast = new CudaCast(device);
        this.scratch = new Workspace(device);
        this.cache = new RouteCache(device);
        force(null);
    }

    /** The one of a device. */
    public static CudaMatMul of(CudaDevice device) {
        return device.shared(CudaMatMul.class, CudaMatMul::new);
    }

    /** {@code c = scale · a·b}, or added. */
    void multiply(Form form, Factor a, Factor b, float scale, Grad c) {
        launch(new Product(form, new Term(a, b), scale, null, 0, c));
    }

    /** {@code c = first + scale2 · second}, or added; {@code second} dense. */
    void multiply(Form form, Term first, Term second, float scale2, Grad c) {
        launch(new Product(form, first, 1, second, scale2, c));
    }

    private void launch(Product product) {
        switch (route(product)) {
            case FEW_ROWS -> fewRows.launch(product);
            case TILES -> tiles.launch(product);
            case DECODED -> decoded(product);
            case LIBRARY -> byLibrary(product);
        }
    }

    /** What the table says, or {@link Route#TILES}, which take everything, where that cannot be. */
    private Route route(Product product) {
        if (product.rows() == 0 || product.cols() == 0) {
            return Route.TILES;
        }
        Route wanted = forced != null
                ? forced
                : table().route(product.form, product.kind(), Math.max(1, product.tokens()), libraryThere());
        boolean can = switch (wanted) {
            case FEW_ROWS -> FewRows.takes(product);
            case TILES -> true;
            case DECODED -> product.first.b.nf4 != null;
            case LIBRARY -> libraryThere();
        };
        return can ? wanted : Route.TILES;
    }

    private void decoded(Product product) {
        Factor weight = product.first.b;
        long address = scratch.reserve(weight.scratch());
        if (address == 0) { // no room
            tiles.launch(product);
            return;
        }
        Term first = new Term(product.first.a, Factor.of(half(weight, address)));
        tiles.launch(new Product(product.form, first, product.scale, product.second, product.scale2, product.c));
    }

    /** The smaller term first: of two results in bfloat16 it is the one whose rounding is lost in the other's. */
    private void byLibrary(Product product) {
        if (product.second != null) {
            float scale = product.scale * product.scale2;
            byLibrary(new Product(product.form, product.second, scale, null, 0, product.c));
            Grad onTop = new Grad(product.c.tensor(), true);
            byLibrary(new Product(product.form, product.first, product.scale, null, 0, onTop));
        } else if (!takenByLibrary(product)) {
            tiles.launch(product);
        }
    }

    private boolean takenByLibrary(Product product) {
        Factor a = product.first.a;
        Factor b = product.first.b;
        boolean tooLarge = roundedTooLarge(a) || roundedTooLarge(b);
        if (tooLarge || !libraryThere() || product.depth(product.first) == 0) {
            return false;
        }
        long room = a.scratch() + b.scratch();
        long at = room == 0 ? 0 : scratch.reserve(room);
        if (room > 0 && at == 0) {
            return false;
        }
        GemmLibrary vendor = library.library();
        Gemm gemm = new Gemm(
                product.rows(),
                product.cols(),
                product.depth(product.first),
                product.form == Form.TN,
                product.form == Form.NT,
                product.scale,
                a.ready() ? address(a.data) : at,
                b.ready() ? address(b.data) : at + a.scratch(),
                address(product.c.tensor()),
                product.c.tensor().dtype(),
                product.c.accumulate());
        try {
            if (!vendor.takes(gemm)) {
                return false;
            }
            half(a, gemm.a());
            half(b, gemm.b());
            device.driver().launchElsewhere(() -> vendor.multiply(gemm));
            if (device.options().checkEveryLaunch()) {
                device.finish();
            }
            return true;
        } catch (CudaException e) {
            refuse(e);
            return false;
        }
    }

    private static boolean roundedTooLarge(Factor factor) {
        return factor.nf4 == null && !factor.ready() && factor.size() > MOST_ROUNDED;
    }

    /**
     * Does without the library from now on.
     *
     * @throws CudaException if it is an earlier kernel that failed: then the card does nothing more, for nobody
     */
    private void refuse(CudaException e) {
        device.finish();
        refused = true;
        String why = library.library().name() + " failed and is not used again: " + e.getMessage();
        library = new Blas.Found(library.library(), why);
        LOG.log(System.Logger.Level.WARNING, why);
    }

    /** The operand in bfloat16: written to {@code address} unless it is so already. */
    private Tensor half(Factor factor, long address) {
        if (factor.ready()) {
            return factor.data;
        }
        DeviceBuffer there = new DeviceBuffer(address, factor.size() * DType.BF16.bytes());
        Tensor rounded = new Tensor(DType.BF16, Shape.of(factor.rows, factor.cols), there, device);
        if (factor.nf4 != null) {
            codec.dequantize(factor.nf4, rounded);
        } else {
            cast.forward(factor.data, rounded);
        }
        return rounded;
    }

    private static long address(Tensor tensor) {
        return ((DeviceBuffer) tensor.buffer()).address();
    }

    private Blas.Found library() {
        if (library == null) {
            library = device.options().blas().open(device);
        }
        return library;
    }

    private boolean libraryThere() {
        return !refused && library().library() != null;
    }

    private RouteTable table() {
        if (table == null) {
            table = cache.read(vendor()).orElse(RouteTable.UNMEASURED);
        }
        return table;
    }

    /** Uses this table from now on; with {@code keep} later processes do, on such a card, with such a driver and library. */
    void use(RouteTable measured, boolean keep) {
        table = measured;
        if (keep) {
            cache.write(vendor(), measured);
        }
    }

    /**
     * Has every product that can take this route from now on.
     *
     * @param route null for what {@code -Dqlora.cuda.route} says, or else the table
     */
    public void force(Route route) {
        String given = System.getProperty("qlora.cuda.route");
        forced = route != null || given == null ? route : RouteTable.route(given);
    }

    /** The name of the vendor's library, or null if none is used. */
    public String vendor() {
        return libraryThere() ? library.library().name() : null;
    }

    /** Whose dense products are used, or why only this project's own, in one line. */
    public String products() {
        return library().description();
    }

    /** The routes products take, for those who want to know all: where the table comes from, then a rule a line. */
    public String routes() {
        return "routes of matrix products (form, weight, from tokens, route, without a library): "
                + (forced == null ? table().origin() : "all " + forced + " that can") + "\n" + table();
    }

    /** Memory of a card that products by way of decoded weights take, bytes, given the elements of the largest of these. */
    public static long decodingBytes(long largest) {
        return DType.BF16.bytes() * largest;
    }

    @Override
    public void close() {
        if (library != null && library.library() != null) {
            library.library().close();
        }
        scratch.close();
        tiles.close();
    }
}
