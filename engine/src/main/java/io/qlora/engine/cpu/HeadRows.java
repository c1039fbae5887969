package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.WIDTH;

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
            copy(x, offset + row * rowBytes, size, data, row * stride);
        }
        for (int row = 0; row < rows && size < stride; row++) {
            Arrays.fill(data, row * stride + size, (row + 1) * stride, 0f);
        }
        Arrays.fill(data, rows * stride, length, 0f);
    }

    private static void copy(MemorySegment x, long offset, int count, float[] out, int start) {
        int i = 0;
        for (; i <= count - 2 * WIDTH; i += 2 * WIDTH) {
            Widen.f32(x, offset + 4L * i).intoArray(out, start + i);
            Widen.f32(x, offset + 4L * (i + WIDTH)).intoArray(out, start + i + WIDTH);
        }
        for (; i < count; i++) {
            out[start + i] = x.get(FLOAT, offset + 4L * i);
        }
    }
}
