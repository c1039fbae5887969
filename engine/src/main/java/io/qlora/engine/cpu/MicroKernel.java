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

    /** Elements from row to row of the left panel, of which a block of the sum fills at most as many. */
    static final int STRIDE = 288;

    private MicroKernel() {}

    /**
     * Adds the product of two panels to a tile.
     *
     * @param a element (row, k) at {@code aStart + row · STRIDE + k}
     * @param b element (k, column) at {@code bStart + k · COLUMNS + column}
     * @param c element (row, column) at {@code cStart + row · COLUMNS + column}
     */
    static void multiply(int depth, float[] a, int aStart, float[] b, int bStart, float[] c, int cStart) {
        FloatVector c00 = FloatVector.zero(FLOATS);
        FloatVector c01 = FloatVector.zero(FLOATS);
        FloatVector c10 = FloatVector.zero(FLOATS);
        FloatVector c11 = FloatVector.zero(FLOATS);
        FloatVector c20 = FloatVector.zero(FLOATS);
        FloatVector c21 = FloatVector.zero(FLOATS);
        FloatVector c30 = FloatVector.zero(FLOATS);
        FloatVector c31 = FloatVector.zero(FLOATS);
        FloatVector c40 = FloatVector.zero(FLOATS);
        FloatVector c41 = FloatVector.zero(FLOATS);
        FloatVector c50 = FloatVector.zero(FLOATS);
        FloatVector c51 = FloatVector.zero(FLOATS);
        for (int k = 0; k < depth; k++) {
            int p = aStart + k;
            int q = bStart + k * COLUMNS;
            FloatVector b0 = FloatVector.fromArray(FLOATS, b, q);
            FloatVector b1 = FloatVector.fromArray(FLOATS, b, q + WIDTH);
            FloatVector a0 = FloatVector.broadcast(FLOATS, a[p]);
            c00 = a0.fma(b0, c00);
            c01 = a0.fma(b1, c01);
            VarHandle.loadLoadFence();
            FloatVector a1 = FloatVector.broadcast(FLOATS, a[p + STRIDE]);
            c10 = a1.fma(b0, c10);
            c11 = a1.fma(b1, c11);
            VarHandle.loadLoadFence();
            FloatVector a2 = FloatVector.broadcast(FLOATS, a[p + 2 * STRIDE]);
            c20 = a2.fma(b0, c20);
            c21 = a2.fma(b1, c21);
            VarHandle.loadLoadFence();
            FloatVector a3 = FloatVector.broadcast(FLOATS, a[p + 3 * STRIDE]);
            c30 = a3.fma(b0, c30);
            c31 = a3.fma(b1, c31);
            VarHandle.loadLoadFence();
            FloatVector a4 = FloatVector.broadcast(FLOATS, a[p + 4 * STRIDE]);
            c40 = a4.fma(b0, c40);
            c41 = a4.fma(b1, c41);
            VarHandle.loadLoadFence();
            FloatVector a5 = FloatVector.broadcast(FLOATS, a[p + 5 * STRIDE]);
            c50 = a5.fma(b0, c50);
            c51 = a5.fma(b1, c51);
        }
        c00.add(FloatVector.fromArray(FLOATS, c, cStart)).intoArray(c, cStart);
        c01.add(FloatVector.fromArray(FLOATS, c, cStart + WIDTH)).intoArray(c, cStart + WIDTH);
        c10.add(FloatVector.fromArray(FLOATS, c, cStart + 2 * WIDTH)).intoArray(c, cStart + 2 * WIDTH);
        c11.add(FloatVector.fromArray(FLOATS, c, cStart + 3 * WIDTH)).intoArray(c, cStart + 3 * WIDTH);
        c20.add(FloatVector.fromArray(FLOATS, c, cStart + 4 * WIDTH)).intoArray(c, cStart + 4 * WIDTH);
        c21.add(FloatVector.fromArray(FLOATS, c, cStart + 5 * WIDTH)).intoArray(c, cStart + 5 * WIDTH);
        c30.add(FloatVector.fromArray(FLOATS, c, cStart + 6 * WIDTH)).intoArray(c, cStart + 6 * WIDTH);
        c31.add(FloatVector.fromArray(FLOATS, c, cStart + 7 * WIDTH)).intoArray(c, cStart + 7 * WIDTH);
        c40.add(FloatVector.fromArray(FLOATS, c, cStart + 8 * WIDTH)).intoArray(c, cStart + 8 * WIDTH);
        c41.add(FloatVector.fromArray(FLOATS, c, cStart + 9 * WIDTH)).intoArray(c, cStart + 9 * WIDTH);
        c50.add(FloatVector.fromArray(FLOATS, c, cStart + 10 * WIDTH)).intoArray(c, cStart + 10 * WIDTH);
        c51.add(FloatVector.fromArray(FLOATS, c, cStart + 11 * WIDTH)).intoArray(c, cStart + 11 * WIDTH);
    }
}
