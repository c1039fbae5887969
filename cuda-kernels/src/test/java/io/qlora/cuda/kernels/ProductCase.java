package io.qlora.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.kernels.CudaMatMul.Factor;
import io.qlora.cuda.kernels.CudaMatMul.Form;
import io.qlora.cuda.kernels.CudaMatMul.Product;
import io.qlora.cuda.kernels.CudaMatMul.Term;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DeviceBuffer;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import io.qlora.nf4.Nf4;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.Consumer;

/**
 * A product of our own kernels. Dense operands are small integers, and so their products' sums are exact in any order: C must
 * be right to the bit. Sums with a weight in NF4 must be within rounding of those in float64.
 *
 * @param a type of A
 * @param b type of B; null: NF4, doubly quantised if K is a multiple of 128
 * @param c type of C
 * @param depth2 of the second term, in A's type and float32; 0 for none
 * @param shift elements by which A and B begin off their alignment
 */
public record ProductCase(
        Form form, int m, int n, int k, DType a, DType b, DType c, int depth2, boolean accumulate, int shift) {

    private static final float SCALE = 0.5f;
    private static final float SCALE2 = 4;
    private static final float THERE = 2;
    private static final double ROUNDING = 0x1p-20; // a term of a sum in float32
    private static final double CODEBOOK =
            0x1p-8; // the same where NF4's values are rounded to bfloat16, which errs both ways
    private static final double BFLOAT16 = 0x1p-8; // half a unit in the last place, with a margin for the sum's own

    /** Tiles that are full, ragged and nearly empty, in every way an operand may lie in memory. */
    public static List<ProductCase> all() {
        int[][] shapes = {
            {1, 1, 1},
            {3, 5, 7},
            {16, 8, 16},
            {9, 200, 72},
            {64, 64, 64},
            {65, 72, 136},
            {130, 264, 72},
            {264, 136, 328},
            {300, 16, 1600},
            {70, 8, 64},
            {16, 136, 1288},
            {8, 72, 96},
            {2, 40, 520}
        };
        List<ProductCase> cases = new ArrayList<>();
        DType half = DType.BF16;
        for (int[] s : shapes) {
            for (Form form : Form.values()) {
                cases.add(new ProductCase(form, s[0], s[1], s[2], half, half, DType.F32, 0, false, 0));
                cases.add(new ProductCase(form, s[0], s[1], s[2], half, half, half, 16, true, 0));
                cases.add(new ProductCase(form, s[0], s[1], s[2], half, DType.F32, half, 0, false, 0));
                cases.add(new ProductCase(form, s[0], s[1], s[2], half, half, DType.F32, 5, true, 1));
            }
        }
        for (Form form : Form.values()) {
            cases.add(new ProductCase(form, 66, 70, 72, DType.F16, DType.F32, DType.F32, 5, true, 0));
            cases.add(new ProductCase(form, 66, 70, 80, DType.F32, DType.F16, DType.F32, 72, false, 1));
        }
        for (int[] s : new int[][] {
            {1, 40, 64},
            {8, 33, 192},
            {3, 16, 1024},
            {2, 216, 576}, // more rows of W than blocks take at once
            {16, 72, 128},
            {70, 130, 64},
            {150, 256, 192},
            {20, 30, 37},
            {5, 9, 100}
        }) {
            cases.add(new ProductCase(Form.NT, s[0], s[1], s[2], half, null, half, 0, false, 0));
            cases.add(new ProductCase(Form.NT, s[0], s[1], s[2], half, null, DType.F32, 16, true, 0));
            cases.add(new ProductCase(Form.NT, s[0], s[1], s[2], DType.F32, null, DType.F32, 8, false, 0));
            cases.add(new ProductCase(Form.NN, s[0], s[2], s[1], half, null, half, 0, false, 0));
            cases.add(new ProductCase(Form.NN, s[0], s[2], s[1], half, null, DType.F32, 16, true, 0));
        }
        return cases;
    }

    /** Those that Hopper's cards compute by warpgroups: several tiles a block, ragged in every extent. */
    public static List<ProductCase> large() {
        DType half = DType.BF16;
        List<ProductCase> cases = new ArrayList<>();
        for (int[] s : new int[][] {{130, 264, 72}, {264, 72, 328}, {72, 520, 64}, {390, 776, 136}}) {
            for (Form form : Form.values()) {
                cases.add(new ProductCase(form, s[0], s[1], s[2], half, half, DType.F32, 16, true, 0));
                cases.add(new ProductCase(form, s[0], s[1], s[2], half, half, half, 0, false, 0));
            }
        }
        for (int[] s : new int[][] {{130, 264, 64}, {520, 130, 192}, {72, 640, 320}}) {
            cases.add(new ProductCase(Form.NT, s[0], s[1], s[2], half, null, DType.F32, 70, true, 0));
            cases.add(new ProductCase(Form.NN, s[0], s[2] + 128, s[1], half, null, DType.F32, 8, false, 0));
        }
        return cases;
    }

    /** Computes it by tiles, and as few rows if it is of few, and fails unless it is right. */
    public void check(CudaDevice card) {
        byTiles(card);
        byFewRows(card);
    }

    private void byTiles(CudaDevice card) {
        try (TileProduct tiles = new TileProduct(card)) {
            check(card, tiles::launch, ROUNDING);
        }
    }

    private void byFewRows(CudaDevice card) {
        if (form == Form.NT && m <= FewRows.MOST && k % (b == null ? 64 : 8) == 0 && a != DType.F16 && shift == 0) {
            FewRows rows = new FewRows(card);
            check(
                    card,
                    product -> {
                        assertTrue(FewRows.takes(product), toString());
                        rows.launch(product);
                    },
                    CODEBOOK);
        }
    }

    /** Has a card that computes nothing launch what {@link #check} does. */
    void launch(CudaDevice card) {
        assertThrows(AssertionError.class, () -> byTiles(card), "of NaN");
        try {
            byFewRows(card);
        } catch (AssertionError e) {
            return; // it is of few
        }
    }

    /** Whether it is computed by warpgroups there. */
    boolean byWarpgroups(CudaDevice card) {
        try (ModelMemory memory = new ModelMemory(card)) {
            Factor left = Factor.of(memory.empty(a, form == Form.TN ? k : m, form == Form.TN ? m : k));
            Factor right = Factor.of(memory.empty(b, form == Form.NT ? n : k, form == Form.NT ? k : n));
            Grad result = new Grad(memory.empty(c, m, n), accumulate);
            return new WarpgroupProduct(card).takes(new Product(form, new Term(left, right), 1, null, 0, result));
        }
    }

    private void check(CudaDevice card, Consumer<Product> product, double share) {
        try (ModelMemory memory = new ModelMemory(card)) {
            Matrix left = Matrix.integers("a", form == Form.TN ? k : m, form == Form.TN ? m : k);
            Matrix right = Matrix.integers("b", form == Form.NT ? n : k, form == Form.NT ? k : n);
            Factor first = Factor.of(left.on(card, a, shift));
            Factor with = b == null
                    ? Factor.of(right.quantized(card, memory, k % 128 == 0))
                    : Factor.of(right.on(card, b, shift));
            Matrix weight = b == null ? right.decoded(with.nf4(), memory) : right;
            Matrix left2 = Matrix.integers("a2", form == Form.TN ? depth2 : m, form == Form.TN ? m : depth2);
            Matrix right2 = Matrix.integers("b2", form == Form.NT ? n : depth2, form == Form.NT ? depth2 : n);
            Term second = depth2 == 0
                    ? null
                    : new Term(Factor.of(left2.on(card, a, 0)), Factor.of(right2.on(card, DType.F32, 0)));
            Matrix there = new Matrix(m, n, new float[m * n]);
            Arrays.fill(there.values, THERE);
            Tensor result = accumulate ? there.on(card, c, 0) : Matrix.empty(card, c, m, n, 0);
            product.accept(
                    new Product(form, new Term(first, with), SCALE, second, SCALE2, new Grad(result, accumulate)));
            float[] found = Matrix.read(result);
            for (int i = 0; i < m; i++) {
                for (int j = 0; j < n; j++) {
                    double sum = SCALE * (sum(left, weight, i, j, k) + SCALE2 * sum(left2, right2, i, j, depth2));
                    double expected = accumulate ? sum + THERE : sum;
                    String where = this + ": element " + i + ", " + j;
                    if (b != null) {
                        assertEquals(Matrix.rounded((float) expected, c), found[i * n + j], where);
                    } else {
                        double most = share * k + (c == DType.F32 ? 0 : BFLOAT16 * Math.abs(expected));
                        assertEquals(expected, found[i * n + j], most, where);
                    }
                }
            }
        }
    }

    private double sum(Matrix left, Matrix right, int i, int j, int depth) {
        double sum = 0;
        for (int l = 0; l < depth; l++) {
            double x = form == Form.TN ? left.at(l, i) : left.at(i, l);
            sum += x * (form == Form.NT ? right.at(j, l) : right.at(l, j));
        }
        return sum;
    }

    /** A matrix on this side, and its copies on the card, each in memory of its own. */
    private record Matrix(int rows, int cols, float[] values) {

        static Matrix integers(String key, int rows, int cols) {
            SplittableRandom random = new SplittableRandom(key.hashCode() + 31L * rows + cols);
            float[] values = new float[rows * cols];
            for (int i = 0; i < values.length; i++) {
                values[i] = random.nextInt(9) - 4;
            }
            return new Matrix(rows, cols, values);
        }

        float at(int row, int col) {
            return values[row * cols + col];
        }

        static float rounded(float value, DType dtype) {
            return dtype == DType.BF16 ? Float.intBitsToFloat(bfloat16(value) << 16) : value;
        }

        private static short bfloat16(float value) {
            int bits = Float.floatToRawIntBits(value);
            return (short) ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
        }

        static Tensor empty(CudaDevice card, DType dtype, int rows, int cols, int shift) {
            long bytes = (long) dtype.bytes() * rows * cols;
            long offset = (long) dtype.bytes() * shift;
            DeviceBuffer memory = (DeviceBuffer) card.newArena().allocate(bytes + offset); // of a test that ends soon
            DeviceBuffer part = new DeviceBuffer(memory.address() + offset, bytes);
            return new Tensor(dtype, Shape.of(rows, cols), part, card);
        }

        Tensor on(CudaDevice card, DType dtype, int shift) {
            Tensor tensor = empty(card, dtype, rows, cols, shift);
            if (dtype == DType.F32) {
                return tensor.set(values);
            }
            short[] halves = new short[values.length];
            for (int i = 0; i < halves.length; i++) {
                halves[i] = dtype == DType.BF16 ? bfloat16(values[i]) : Float.floatToFloat16(values[i]);
            }
            card.write(MemorySegment.ofArray(halves), tensor);
            return tensor;
        }

        static float[] read(Tensor tensor) {
            if (tensor.dtype() == DType.F32) {
                return tensor.toFloats();
            }
            short[] halves = new short[(int) tensor.size()];
            tensor.device().read(tensor, MemorySegment.ofArray(halves));
            float[] values = new float[halves.length];
            for (int i = 0; i < values.length; i++) {
                values[i] = Float.intBitsToFloat(halves[i] << 16);
            }
            return values;
        }

        Nf4Weight quantized(CudaDevice card, ModelMemory memory, boolean twice) {
            Nf4Weight weight = Nf4.quantize(on(card, DType.F32, 0), twice, memory, card);
            Tensor codes = weight.codes();
            Tensor apart =
                    new Tensor(codes.dtype(), codes.shape(), card.newArena().allocate(codes.byteSize()), card);
            card.copy(codes, apart);
            return new Nf4Weight(weight.out(), weight.in(), apart, weight.absmax());
        }

        /** What its codes decode to, rounded to bfloat16. */
        Matrix decoded(Nf4Weight weight, ModelMemory memory) {
            float[] decoded = Nf4.dequantize(weight, memory).toFloats();
            for (int i = 0; i < decoded.length; i++) {
                decoded[i] = rounded(decoded[i], DType.BF16);
            }
            return new Matrix(rows, cols, decoded);
        }
    }
}
