package io.qlora.engine.cpu;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/**
 * The keys or values of one head, copied together on the heap as a left operand of {@link StridedTile}: both their number
 * and their size are rounded up to whole tiles, the rest is zero. The array is grown on demand and kept.
 */
final class HeadRows {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

    float[] data = new float[0];

    /** Floats from row to row. */
    int stride;

    /** {@code n} rounded up to whole tiles. */
    static int padded(int n) {
        return Math.ceilDiv(n, StridedTile.ROWS) * StridedTile.ROWS;
    }

    /**
     * Copies rows.
     *
     * @param offset of the first row, bytes
     * @param rowBytes from row to row, bytes
     */
    void load(MemorySegment x, long offset, long rowBytes, int rows, int size) {
        stride = padded(size);
        int length = Math.multiplyExact(padded(rows), stride);
        if (data.length < length) {
            data = new float[length];
        }
        for (int row = 0; row < rows; row++) {
            int start = row * stride;
            MemorySegment.copy(x, FLOAT, offset + row * rowBytes, data, start, size);
            Arrays.fill(data, start + size, start + stride, 0f);
        }
        Arrays.fill(data, rows * stride, length, 0f);
    }
}
