package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import java.lang.invoke.VarHandle;
import jdk.incubator.vector.FloatVector;

/**
 * The innermost loop of attention: a tile of eight rows by two vectors, as in {@link MicroKernel}, but with a left operand
 * that is read where it is, by rows or by columns. Attention multiplies by keys, values and probabilities both as they are
 * and transposed, a few dozen rows at a time: packing them first would cost as much as it saves. Eight rows divide every
 * usual head size.
 *
 * <p>The fences cost no instruction on x86; they keep the compiler from moving all broadcasts of a step above its
 * multiplications, where sixteen registers would not suffice.
 */
final class StridedTile {

    /** Rows of a tile. */
    static final int ROWS = 8;

    /** Columns of a tile. */
    static final int COLUMNS = 2 * WIDTH;

    private StridedTile() {}

    /**
     * Adds a product to tiles, one below the other.
     *
     * @param rows of the result; a multiple of {@link #ROWS} is computed
     * @param depth length of the sum
     * @param a element (row, k) at {@code aStart + row · rowStride + k · depthStride}
     * @param b element (k, column) at {@code bStart + k · COLUMNS + column}
     * @param c element (row, column) at {@code cStart + row · COLUMNS + column}
     */
    static void multiply(
            int rows,
            int depth,
            float[] a,
            int aStart,
            int rowStride,
            int depthStride,
            float[] b,
            int bStart,
            float[] c,
            int cStart) {
        for (int row = 0; row < rows; row += ROWS) {
            int start = aStart + row * rowStride;
            tile(depth, a, start, rowStride, depthStride, b, bStart, c, cStart + row * COLUMNS);
        }
    }

    private static void tile(
            int depth,
            float[] a,
            int aStart,
            int rowStride,
            int depthStride,
            float[] b,
            int bStart,
            float[] c,
            int cStart) {
        int to2 = 2 * rowStride;
        int to3 = 3 * rowStride;
        int to4 = 4 * rowStride;
        int to5 = 5 * rowStride;
        int to6 = 6 * rowStride;
        int to7 = 7 * rowStride;
        FloatVector left0 = FloatVector.zero(FLOATS);
        FloatVector right0 = FloatVector.zero(FLOATS);
        FloatVector left1 = FloatVector.zero(FLOATS);
        FloatVector right1 = FloatVector.zero(FLOATS);
        FloatVector left2 = FloatVector.zero(FLOATS);
        FloatVector right2 = FloatVector.zero(FLOATS);
        FloatVector left3 = FloatVector.zero(FLOATS);
        FloatVector right3 = FloatVector.zero(FLOATS);
        FloatVector left4 = FloatVector.zero(FLOATS);
        FloatVector right4 = FloatVector.zero(FLOATS);
        FloatVector left5 = FloatVector.zero(FLOATS);
        FloatVector right5 = FloatVector.zero(FLOATS);
        FloatVector left6 = FloatVector.zero(FLOATS);
        FloatVector right6 = FloatVector.zero(FLOATS);
        FloatVector left7 = FloatVector.zero(FLOATS);
        FloatVector right7 = FloatVector.zero(FLOATS);
        int p = aStart;
        int q = bStart;
        for (int k = 0; k < depth; k++) {
            FloatVector l = FloatVector.fromArray(FLOATS, b, q);
            FloatVector r = FloatVector.fromArray(FLOATS, b, q + WIDTH);
            FloatVector x0 = FloatVector.broadcast(FLOATS, a[p]);
            left0 = x0.fma(l, left0);
            right0 = x0.fma(r, right0);
            VarHandle.loadLoadFence();
            FloatVector x1 = FloatVector.broadcast(FLOATS, a[p + rowStride]);
            left1 = x1.fma(l, left1);
            right1 = x1.fma(r, right1);
            VarHandle.loadLoadFence();
            FloatVector x2 = FloatVector.broadcast(FLOATS, a[p + to2]);
            left2 = x2.fma(l, left2);
            right2 = x2.fma(r, right2);
            VarHandle.loadLoadFence();
            FloatVector x3 = FloatVector.broadcast(FLOATS, a[p + to3]);
            left3 = x3.fma(l, left3);
            right3 = x3.fma(r, right3);
            VarHandle.loadLoadFence();
            FloatVector x4 = FloatVector.broadcast(FLOATS, a[p + to4]);
            left4 = x4.fma(l, left4);
            right4 = x4.fma(r, right4);
            VarHandle.loadLoadFence();
            FloatVector x5 = FloatVector.broadcast(FLOATS, a[p + to5]);
            left5 = x5.fma(l, left5);
            right5 = x5.fma(r, right5);
            VarHandle.loadLoadFence();
            FloatVector x6 = FloatVector.broadcast(FLOATS, a[p + to6]);
            left6 = x6.fma(l, left6);
            right6 = x6.fma(r, right6);
            VarHandle.loadLoadFence();
            FloatVector x7 = FloatVector.broadcast(FLOATS, a[p + to7]);
            left7 = x7.fma(l, left7);
            right7 = x7.fma(r, right7);
            p += depthStride;
            q += COLUMNS;
        }
        // Written out: the compiler would no longer inline a helper here, and a call makes objects of vectors.
        FloatVector.fromArray(FLOATS, c, cStart).add(left0).intoArray(c, cStart);
        FloatVector.fromArray(FLOATS, c, cStart + WIDTH).add(right0).intoArray(c, cStart + WIDTH);
        FloatVector.fromArray(FLOATS, c, cStart + COLUMNS).add(left1).intoArray(c, cStart + COLUMNS);
        FloatVector.fromArray(FLOATS, c, cStart + COLUMNS + WIDTH).add(right1).intoArray(c, cStart + COLUMNS + WIDTH);
        FloatVector.fromArray(FLOATS, c, cStart + 2 * COLUMNS).add(left2).intoArray(c, cStart + 2 * COLUMNS);
        FloatVector.fromArray(FLOATS, c, cStart + 2 * COLUMNS + WIDTH)
                .add(right2)
                .intoArray(c, cStart + 2 * COLUMNS + WIDTH);
        FloatVector.fromArray(FLOATS, c, cStart + 3 * COLUMNS).add(left3).intoArray(c, cStart + 3 * COLUMNS);
        FloatVector.fromArray(FLOATS, c, cStart + 3 * COLUMNS + WIDTH)
                .add(right3)
                .intoArray(c, cStart + 3 * COLUMNS + WIDTH);
        FloatVector.fromArray(FLOATS, c, cStart + 4 * COLUMNS).add(left4).intoArray(c, cStart + 4 * COLUMNS);
        FloatVector.fromArray(FLOATS, c, cStart + 4 * COLUMNS + WIDTH)
                .add(right4)
                .intoArray(c, cStart + 4 * COLUMNS + WIDTH);
        FloatVector.fromArray(FLOATS, c, cStart + 5 * COLUMNS).add(left5).intoArray(c, cStart + 5 * COLUMNS);
        FloatVector.fromArray(FLOATS, c, cStart + 5 * COLUMNS + WIDTH)
                .add(right5)
                .intoArray(c, cStart + 5 * COLUMNS + WIDTH);
        FloatVector.fromArray(FLOATS, c, cStart + 6 * COLUMNS).add(left6).intoArray(c, cStart + 6 * COLUMNS);
        FloatVector.fromArray(FLOATS, c, cStart + 6 * COLUMNS + WIDTH)
                .add(right6)
                .intoArray(c, cStart + 6 * COLUMNS + WIDTH);
        FloatVector.fromArray(FLOATS, c, cStart + 7 * COLUMNS).add(left7).intoArray(c, cStart + 7 * COLUMNS);
        FloatVector.fromArray(FLOATS, c, cStart + 7 * COLUMNS + WIDTH)
                .add(right7)
                .intoArray(c, cStart + 7 * COLUMNS + WIDTH);
    }
}
