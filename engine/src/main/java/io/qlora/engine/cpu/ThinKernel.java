package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.MicroKernel.COLUMNS;
import static io.qlora.engine.cpu.MicroKernel.STRIDE;

import jdk.incubator.vector.FloatVector;

/**
 * {@link MicroKernel} for a result of no more columns than a vector has: a tile of twelve rows by one vector, so that again
 * twelve sums are under way. What an adapter of rank 16 needs of 512 bits, where the wide tile would compute as many zeros.
 * An element's sum is the same in both, to the bit. No fences: what the compiler hoists fits into sixteen registers here.
 */
final class ThinKernel {

    /** Rows of a tile. */
    static final int ROWS = 12;

    private ThinKernel() {}

    /**
     * Adds the product of two panels to a tile.
     *
     * @param a element (row, k) at {@code aStart + row · STRIDE + k}
     * @param b element (k, column) at {@code bStart + k · COLUMNS + column}
     * @param c element (row, column) at {@code cStart + row · COLUMNS + column}
     */
    static void multiply(int depth, float[] a, int aStart, float[] b, int bStart, float[] c, int cStart) {
        FloatVector c0 = FloatVector.zero(FLOATS);
        FloatVector c1 = FloatVector.zero(FLOATS);
        FloatVector c2 = FloatVector.zero(FLOATS);
        FloatVector c3 = FloatVector.zero(FLOATS);
        FloatVector c4 = FloatVector.zero(FLOATS);
        FloatVector c5 = FloatVector.zero(FLOATS);
        FloatVector c6 = FloatVector.zero(FLOATS);
        FloatVector c7 = FloatVector.zero(FLOATS);
        FloatVector c8 = FloatVector.zero(FLOATS);
        FloatVector c9 = FloatVector.zero(FLOATS);
        FloatVector c10 = FloatVector.zero(FLOATS);
        FloatVector c11 = FloatVector.zero(FLOATS);
        for (int k = 0; k < depth; k++) {
            int p = aStart + k;
            FloatVector row = FloatVector.fromArray(FLOATS, b, bStart + k * COLUMNS);
            c0 = FloatVector.broadcast(FLOATS, a[p]).fma(row, c0);
            c1 = FloatVector.broadcast(FLOATS, a[p + STRIDE]).fma(row, c1);
            c2 = FloatVector.broadcast(FLOATS, a[p + 2 * STRIDE]).fma(row, c2);
            c3 = FloatVector.broadcast(FLOATS, a[p + 3 * STRIDE]).fma(row, c3);
            c4 = FloatVector.broadcast(FLOATS, a[p + 4 * STRIDE]).fma(row, c4);
            c5 = FloatVector.broadcast(FLOATS, a[p + 5 * STRIDE]).fma(row, c5);
            c6 = FloatVector.broadcast(FLOATS, a[p + 6 * STRIDE]).fma(row, c6);
            c7 = FloatVector.broadcast(FLOATS, a[p + 7 * STRIDE]).fma(row, c7);
            c8 = FloatVector.broadcast(FLOATS, a[p + 8 * STRIDE]).fma(row, c8);
            c9 = FloatVector.broadcast(FLOATS, a[p + 9 * STRIDE]).fma(row, c9);
            c10 = FloatVector.broadcast(FLOATS, a[p + 10 * STRIDE]).fma(row, c10);
            c11 = FloatVector.broadcast(FLOATS, a[p + 11 * STRIDE]).fma(row, c11);
        }
        c0.add(FloatVector.fromArray(FLOATS, c, cStart)).intoArray(c, cStart);
        c1.add(FloatVector.fromArray(FLOATS, c, cStart + COLUMNS)).intoArray(c, cStart + COLUMNS);
        c2.add(FloatVector.fromArray(FLOATS, c, cStart + 2 * COLUMNS)).intoArray(c, cStart + 2 * COLUMNS);
        c3.add(FloatVector.fromArray(FLOATS, c, cStart + 3 * COLUMNS)).intoArray(c, cStart + 3 * COLUMNS);
        c4.add(FloatVector.fromArray(FLOATS, c, cStart + 4 * COLUMNS)).intoArray(c, cStart + 4 * COLUMNS);
        c5.add(FloatVector.fromArray(FLOATS, c, cStart + 5 * COLUMNS)).intoArray(c, cStart + 5 * COLUMNS);
        c6.add(FloatVector.fromArray(FLOATS, c, cStart + 6 * COLUMNS)).intoArray(c, cStart + 6 * COLUMNS);
        c7.add(FloatVector.fromArray(FLOATS, c, cStart + 7 * COLUMNS)).intoArray(c, cStart + 7 * COLUMNS);
        c8.add(FloatVector.fromArray(FLOATS, c, cStart + 8 * COLUMNS)).intoArray(c, cStart + 8 * COLUMNS);
        c9.add(FloatVector.fromArray(FLOATS, c, cStart + 9 * COLUMNS)).intoArray(c, cStart + 9 * COLUMNS);
        c10.add(FloatVector.fromArray(FLOATS, c, cStart + 10 * COLUMNS)).intoArray(c, cStart + 10 * COLUMNS);
        c11.add(FloatVector.fromArray(FLOATS, c, cStart + 11 * COLUMNS)).intoArray(c, cStart + 11 * COLUMNS);
    }

    /**
     * The same of a left panel that is the other way round.
     *
     * @param a element (row, k) at {@code aStart + k · STRIDE + row}
     */
    static void multiplyTransposed(int depth, float[] a, int aStart, float[] b, int bStart, float[] c, int cStart) {
        FloatVector c0 = FloatVector.zero(FLOATS);
        FloatVector c1 = FloatVector.zero(FLOATS);
        FloatVector c2 = FloatVector.zero(FLOATS);
        FloatVector c3 = FloatVector.zero(FLOATS);
        FloatVector c4 = FloatVector.zero(FLOATS);
        FloatVector c5 = FloatVector.zero(FLOATS);
        FloatVector c6 = FloatVector.zero(FLOATS);
        FloatVector c7 = FloatVector.zero(FLOATS);
        FloatVector c8 = FloatVector.zero(FLOATS);
        FloatVector c9 = FloatVector.zero(FLOATS);
        FloatVector c10 = FloatVector.zero(FLOATS);
        FloatVector c11 = FloatVector.zero(FLOATS);
        for (int k = 0; k < depth; k++) {
            int p = aStart + k * STRIDE;
            FloatVector row = FloatVector.fromArray(FLOATS, b, bStart + k * COLUMNS);
            c0 = FloatVector.broadcast(FLOATS, a[p]).fma(row, c0);
            c1 = FloatVector.broadcast(FLOATS, a[p + 1]).fma(row, c1);
            c2 = FloatVector.broadcast(FLOATS, a[p + 2]).fma(row, c2);
            c3 = FloatVector.broadcast(FLOATS, a[p + 3]).fma(row, c3);
            c4 = FloatVector.broadcast(FLOATS, a[p + 4]).fma(row, c4);
            c5 = FloatVector.broadcast(FLOATS, a[p + 5]).fma(row, c5);
            c6 = FloatVector.broadcast(FLOATS, a[p + 6]).fma(row, c6);
            c7 = FloatVector.broadcast(FLOATS, a[p + 7]).fma(row, c7);
            c8 = FloatVector.broadcast(FLOATS, a[p + 8]).fma(row, c8);
            c9 = FloatVector.broadcast(FLOATS, a[p + 9]).fma(row, c9);
            c10 = FloatVector.broadcast(FLOATS, a[p + 10]).fma(row, c10);
            c11 = FloatVector.broadcast(FLOATS, a[p + 11]).fma(row, c11);
        }
        c0.add(FloatVector.fromArray(FLOATS, c, cStart)).intoArray(c, cStart);
        c1.add(FloatVector.fromArray(FLOATS, c, cStart + COLUMNS)).intoArray(c, cStart + COLUMNS);
        c2.add(FloatVector.fromArray(FLOATS, c, cStart + 2 * COLUMNS)).intoArray(c, cStart + 2 * COLUMNS);
        c3.add(FloatVector.fromArray(FLOATS, c, cStart + 3 * COLUMNS)).intoArray(c, cStart + 3 * COLUMNS);
        c4.add(FloatVector.fromArray(FLOATS, c, cStart + 4 * COLUMNS)).intoArray(c, cStart + 4 * COLUMNS);
        c5.add(FloatVector.fromArray(FLOATS, c, cStart + 5 * COLUMNS)).intoArray(c, cStart + 5 * COLUMNS);
        c6.add(FloatVector.fromArray(FLOATS, c, cStart + 6 * COLUMNS)).intoArray(c, cStart + 6 * COLUMNS);
        c7.add(FloatVector.fromArray(FLOATS, c, cStart + 7 * COLUMNS)).intoArray(c, cStart + 7 * COLUMNS);
        c8.add(FloatVector.fromArray(FLOATS, c, cStart + 8 * COLUMNS)).intoArray(c, cStart + 8 * COLUMNS);
        c9.add(FloatVector.fromArray(FLOATS, c, cStart + 9 * COLUMNS)).intoArray(c, cStart + 9 * COLUMNS);
        c10.add(FloatVector.fromArray(FLOATS, c, cStart + 10 * COLUMNS)).intoArray(c, cStart + 10 * COLUMNS);
        c11.add(FloatVector.fromArray(FLOATS, c, cStart + 11 * COLUMNS)).intoArray(c, cStart + 11 * COLUMNS);
    }
}
