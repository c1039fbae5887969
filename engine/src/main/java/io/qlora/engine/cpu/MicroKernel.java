package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import java.lang.invoke.VarHandle;
import jdk.incubator.vector.FloatVector;

/**
 * The innermost loop of the matrix product: a tile of six rows by two vectors, held in twelve registers while the sum
 * runs over a block of its length. Each step loads two vectors of the right panel and broadcasts six elements of the left
 * one.
 *
 * <p>What is odd about it was measured, and makes the difference between all of a core's speed and a half or a quarter:
 *
 * <ul>
 *   <li>The fences, which cost no instruction on x86, keep the compiler from moving all broadcasts above the
 *       multiplications: sixteen registers do not suffice for that, and it would spill accumulators inside the loop.
 *   <li>There is no helper method: so deep in a body of this many nodes the compiler inlines nothing but the Vector API
 *       itself, and an accumulator that is handed to a method becomes an object in every step.
 * </ul>
 */
final class MicroKernel {

    /** Rows of a tile. */
    static final int ROWS = 6;

    /** Columns of a tile. */
    static final int COLUMNS = 2 * WIDTH;

    private MicroKernel() {}

    /**
     * Adds the product of two panels to a tile.
     *
     * @param a element (row, k) at {@code aStart + k · ROWS + row}
     * @param b element (k, column) at {@code k · COLUMNS + column}
     * @param c element (row, column) at {@code cStart + row · COLUMNS + column}
     */
    static void multiply(int depth, float[] a, int aStart, float[] b, float[] c, int cStart) {
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
        for (int k = 0; k < depth; k++) {
            int p = aStart + k * ROWS;
            int q = k * COLUMNS;
            FloatVector left = FloatVector.fromArray(FLOATS, b, q);
            FloatVector right = FloatVector.fromArray(FLOATS, b, q + WIDTH);
            FloatVector x0 = FloatVector.broadcast(FLOATS, a[p]);
            left0 = x0.fma(left, left0);
            right0 = x0.fma(right, right0);
            VarHandle.loadLoadFence();
            FloatVector x1 = FloatVector.broadcast(FLOATS, a[p + 1]);
            left1 = x1.fma(left, left1);
            right1 = x1.fma(right, right1);
            VarHandle.loadLoadFence();
            FloatVector x2 = FloatVector.broadcast(FLOATS, a[p + 2]);
            left2 = x2.fma(left, left2);
            right2 = x2.fma(right, right2);
            VarHandle.loadLoadFence();
            FloatVector x3 = FloatVector.broadcast(FLOATS, a[p + 3]);
            left3 = x3.fma(left, left3);
            right3 = x3.fma(right, right3);
            VarHandle.loadLoadFence();
            FloatVector x4 = FloatVector.broadcast(FLOATS, a[p + 4]);
            left4 = x4.fma(left, left4);
            right4 = x4.fma(right, right4);
            VarHandle.loadLoadFence();
            FloatVector x5 = FloatVector.broadcast(FLOATS, a[p + 5]);
            left5 = x5.fma(left, left5);
            right5 = x5.fma(right, right5);
        }
        left0.add(FloatVector.fromArray(FLOATS, c, cStart)).intoArray(c, cStart);
        right0.add(FloatVector.fromArray(FLOATS, c, cStart + WIDTH)).intoArray(c, cStart + WIDTH);
        left1.add(FloatVector.fromArray(FLOATS, c, cStart + 2 * WIDTH)).intoArray(c, cStart + 2 * WIDTH);
        right1.add(FloatVector.fromArray(FLOATS, c, cStart + 3 * WIDTH)).intoArray(c, cStart + 3 * WIDTH);
        left2.add(FloatVector.fromArray(FLOATS, c, cStart + 4 * WIDTH)).intoArray(c, cStart + 4 * WIDTH);
        right2.add(FloatVector.fromArray(FLOATS, c, cStart + 5 * WIDTH)).intoArray(c, cStart + 5 * WIDTH);
        left3.add(FloatVector.fromArray(FLOATS, c, cStart + 6 * WIDTH)).intoArray(c, cStart + 6 * WIDTH);
        right3.add(FloatVector.fromArray(FLOATS, c, cStart + 7 * WIDTH)).intoArray(c, cStart + 7 * WIDTH);
        left4.add(FloatVector.fromArray(FLOATS, c, cStart + 8 * WIDTH)).intoArray(c, cStart + 8 * WIDTH);
        right4.add(FloatVector.fromArray(FLOATS, c, cStart + 9 * WIDTH)).intoArray(c, cStart + 9 * WIDTH);
        left5.add(FloatVector.fromArray(FLOATS, c, cStart + 10 * WIDTH)).intoArray(c, cStart + 10 * WIDTH);
        right5.add(FloatVector.fromArray(FLOATS, c, cStart + 11 * WIDTH)).intoArray(c, cStart + 11 * WIDTH);
    }
}
