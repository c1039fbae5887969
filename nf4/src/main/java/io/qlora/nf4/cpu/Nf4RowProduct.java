package io.qlora.nf4.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.INTS;
import static io.qlora.engine.cpu.Lanes.ORDER;
import static io.qlora.engine.cpu.Lanes.WIDTH;
import static io.qlora.nf4.cpu.Nf4Reader.BLOCK;
import static io.qlora.nf4.cpu.Nf4Reader.WORD;

import io.qlora.engine.cpu.Lanes;
import io.qlora.engine.cpu.Workers;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/**
 * {@code y = x · W'ᵀ} for so few rows of x that decoding W into panels would cost more than the product: a dot product an
 * element of y, decoded on the way. What generating a token is made of.
 *
 * <p>A vector of words holds the codes of {@code 8·WIDTH} elements, those of one word in one lane. x is therefore laid out
 * once so that its elements come in the order in which shifting the words brings up the codes. The sum of a block is
 * multiplied by its scale as a whole. With 16 lanes a vector of words is two blocks; an odd last one is then taken together
 * with the one before it, which counts for nothing the second time.
 */
final class Nf4RowProduct {

    /** Rows of x up to which this is the faster product. */
    static final int MOST = 3;

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final int ROWS = 32; // of W, a task
    private static final int GROUP = WORD * WIDTH; // elements in a vector of words
    private static final ThreadLocal<Scratch> SCRATCH = ThreadLocal.withInitial(Scratch::new);

    private static final class Scratch {
        float[] floats = new float[0];
        int[] words = new int[0];

        float[] floats(int length) {
            if (floats.length < length) {
                floats = new float[length];
            }
            return floats;
        }

        int[] words(int length) {
            if (words.length < length) {
                words = new int[length];
            }
            return words;
        }
    }

    private Nf4RowProduct() {}

    /**
     * The product, an element's sum in an order that depends on shapes alone.
     *
     * @param x [M, in]
     * @param y [M, out], written
     */
    static void multiply(Nf4Reader w, Tensor x, Tensor y, Workers workers) {
        boolean whole = w.in % BLOCK == 0 && w.in >= GROUP;
        int rows = x.rows();
        float[][] xs = new float[rows][];
        for (int m = 0; m < rows; m++) {
            float[] row = x.segment().asSlice(4L * m * w.in, 4L * w.in).toArray(FLOAT);
            xs[m] = whole ? arrange(row) : row;
        }
        MemorySegment ys = y.segment();
        workers.run(Math.ceilDiv(w.out, ROWS), task -> {
            for (int n = task * ROWS; n < Math.min(w.out, (task + 1) * ROWS); n++) {
                float[] staged = whole ? scales(w, n) : row(w, n);
                for (int m = 0; m < rows; m++) {
                    float sum =
                            whole ? dot(w.codes, (long) n * w.in / 2, staged, xs[m], w.in) : dot(staged, xs[m], w.in);
                    ys.setAtIndex(FLOAT, (long) m * w.out + n, sum);
                }
            }
        });
    }

    /** Where group {@code g} of a row starts: the last one may overlap the one before. */
    private static int start(int g, int in) {
        return Math.min(g * GROUP, in - GROUP);
    }

    /** Of each group first the elements that are first in their word, then the second, …; 0 for those met before. */
    private static float[] arrange(float[] x) {
        int groups = Math.ceilDiv(x.length, GROUP);
        float[] arranged = new float[groups * GROUP];
        for (int g = 0; g < groups; g++) {
            int start = start(g, x.length);
            for (int k = g * GROUP; k < Math.min(x.length, (g + 1) * GROUP); k++) {
                int lane = (k - start) / WORD;
                arranged[g * GROUP + k % WORD * WIDTH + lane] = x[k];
            }
        }
        return arranged;
    }

    /** The scales of a row of whole blocks; the last one twice, for the second half of a group that starts a block early. */
    private static float[] scales(Nf4Reader w, int n) {
        int blocks = w.in / BLOCK;
        float[] scales = SCRATCH.get().floats(blocks + 1);
        w.scales((long) n * blocks, blocks, scales, 0);
        scales[blocks] = scales[blocks - 1];
        return scales;
    }

    /** A row that blocks straddle, decoded. */
    private static float[] row(Nf4Reader w, int n) {
        Scratch scratch = SCRATCH.get();
        float[] row = scratch.floats(w.in);
        Nf4Decoder.decode(w, (long) n * w.in, w.in, row, 0, scratch.words(Nf4Reader.words(w.in)));
        return row;
    }

    private static float dot(MemorySegment codes, long offset, float[] scales, float[] x, int in) {
        IntVector table0 = Nf4Lanes.table();
        IntVector table1 = Nf4Lanes.table(1, table0);
        IntVector table2 = Nf4Lanes.table(2, table0);
        IntVector table3 = Nf4Lanes.table(3, table0);
        FloatVector sum = FloatVector.zero(FLOATS);
        int groups = Math.ceilDiv(in, GROUP);
        for (int g = 0; g < groups; g++) {
            IntVector words = IntVector.fromMemorySegment(INTS, codes, offset + start(g, in) / 2, ORDER);
            FloatVector product = product(words, table0, table1, table2, table3, x, g * GROUP);
            sum = product.fma(scale(scales, g), sum);
        }
        return Lanes.sum(sum);
    }

    /** Each lane's word times its elements of x. */
    private static FloatVector product(
            IntVector words, IntVector table0, IntVector table1, IntVector table2, IntVector table3, float[] x, int k) {
        FloatVector high = FloatVector.zero(FLOATS);
        FloatVector low = high;
        IntVector rest = words;
        for (int e = k; e < k + GROUP; e += 2 * WIDTH) { // a byte of each word: its high code, its low one
            FloatVector first = Nf4Lanes.values(rest.lanewise(VectorOperators.LSHR, 4), table0, table1, table2, table3);
            FloatVector second = Nf4Lanes.values(rest, table0, table1, table2, table3);
            high = first.fma(FloatVector.fromArray(FLOATS, x, e), high);
            low = second.fma(FloatVector.fromArray(FLOATS, x, e + WIDTH), low);
            rest = rest.lanewise(VectorOperators.LSHR, 8);
        }
        return high.add(low);
    }

    /** The scales of the blocks that a group is of: two with 16 lanes, else one. */
    private static FloatVector scale(float[] scales, int g) {
        float first = scales[g * GROUP / BLOCK];
        return WIDTH == 16 ? Nf4Lanes.halves(first, scales[2 * g + 1]) : FloatVector.broadcast(FLOATS, first);
    }

    private static float dot(float[] a, float[] b, int length) {
        FloatVector even = FloatVector.zero(FLOATS);
        FloatVector odd = even;
        int k = 0;
        for (; k <= length - 2 * WIDTH; k += 2 * WIDTH) {
            even = FloatVector.fromArray(FLOATS, a, k).fma(FloatVector.fromArray(FLOATS, b, k), even);
            odd = FloatVector.fromArray(FLOATS, a, k + WIDTH).fma(FloatVector.fromArray(FLOATS, b, k + WIDTH), odd);
        }
        float sum = Lanes.sum(even.add(odd));
        for (; k < length; k++) {
            sum += a[k] * b[k];
        }
        return sum;
    }
}
