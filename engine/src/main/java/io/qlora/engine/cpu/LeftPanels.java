package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.MicroKernel.ROWS;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/**
 * Some rows of the left operands, packed for {@link MicroKernel}: block after block of the sum, in each block tile after
 * tile of six rows, in a tile six elements for each step of the sum.
 */
final class LeftPanels {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

    final float[] data;
    final int firstRow;
    final int rows;
    final int tiles;
    final Depth depth;

    LeftPanels(float[] data, int firstRow, int rows, Depth depth) {
        this.data = data;
        this.firstRow = firstRow;
        this.rows = rows;
        this.tiles = Math.ceilDiv(rows, ROWS);
        this.depth = depth;
    }

    /** Where tile {@code tile} of block {@code b} begins in {@link #data}. */
    int start(int b, int tile) {
        return (depth.offset(b) * tiles + tile * depth.length(b)) * ROWS;
    }

    /** Packs tiles {@code from} to {@code to} of block {@code b}, of the operand that this block is of. */
    void pack(int b, Left left, int from, int to) {
        MemorySegment x = left.tensor().segment();
        int cols = left.tensor().cols();
        int k = depth.from(b);
        int length = depth.length(b);
        for (int tile = from; tile < to; tile++) {
            int start = start(b, tile);
            int row = firstRow + tile * ROWS;
            int count = Math.min(ROWS, rows - tile * ROWS);
            if (count < ROWS) {
                Arrays.fill(data, start, start + length * ROWS, 0f);
            }
            if (left.transposed()) {
                packColumns(x, 4 * ((long) k * cols + row), 4L * cols, length, count, left.scale(), data, start);
            } else {
                for (int r = 0; r < count; r++) {
                    packRow(x, 4 * ((long) (row + r) * cols + k), length, left.scale(), data, start + r);
                }
            }
        }
    }

    /** A row of X, to every sixth element. */
    private static void packRow(MemorySegment x, long offset, int length, float scale, float[] data, int start) {
        for (int k = 0; k < length; k++) {
            data[start + k * ROWS] = x.get(FLOAT, offset + 4L * k) * scale;
        }
    }

    /** Up to six columns of X, {@code stride} bytes from row to row. */
    private static void packColumns(
            MemorySegment x, long offset, long stride, int length, int count, float scale, float[] data, int start) {
        if (count == ROWS) {
            packColumns(x, offset, stride, length, scale, data, start);
            return;
        }
        for (int k = 0; k < length; k++) {
            for (int r = 0; r < count; r++) {
                data[start + k * ROWS + r] = x.get(FLOAT, offset + k * stride + 4L * r) * scale;
            }
        }
    }

    /** Six columns: a loop of constant length is written out by the compiler. */
    private static void packColumns(
            MemorySegment x, long offset, long stride, int length, float scale, float[] data, int start) {
        for (int k = 0; k < length; k++) {
            for (int r = 0; r < ROWS; r++) {
                data[start + k * ROWS + r] = x.get(FLOAT, offset + k * stride + 4L * r) * scale;
            }
        }
    }
}
