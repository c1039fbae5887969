package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.WIDTH;
import static io.qlora.engine.cpu.MicroKernel.ROWS;
import static io.qlora.engine.cpu.MicroKernel.STRIDE;

import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.List;

/**
 * Some rows of the left operands, packed for {@link MicroKernel}: group after group of the sum, in each group row after
 * row, at a distance that the compiler knows.
 */
final class LeftPanels implements AutoCloseable {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

    /** What may be read behind the last row: a tile of {@link ThinGradient}'s columns, whose rest is not used. */
    private static final int BEHIND = ThinKernel.ROWS;

    final float[] data;
    final int firstRow;
    final int rows;
    final int tiles;
    final Depth depth;
    final int firstGroup;
    final int endGroup;

    /** Room for all groups of {@code rows} rows from {@code firstRow} on. */
    LeftPanels(int firstRow, int rows, Depth depth) {
        this(firstRow, rows, depth, 0, depth.groups);
    }

    /** Room for groups {@code firstGroup} to {@code endGroup}. */
    LeftPanels(int firstRow, int rows, Depth depth, int firstGroup, int endGroup) {
        this.firstRow = firstRow;
        this.rows = rows;
        this.tiles = Math.ceilDiv(rows, ROWS);
        this.depth = depth;
        this.firstGroup = firstGroup;
        this.endGroup = endGroup;
        this.data = HeapArrays.take(Math.multiplyExact(tiles * ROWS, (endGroup - firstGroup) * STRIDE) + BEHIND);
    }

    /** Those rows of a tensor that are packed here. */
    Tensor of(Tensor tensor) {
        return tensor.rows(firstRow, firstRow + rows);
    }

    /** Where row {@code row} of group {@code g} begins in {@link #data}. */
    int start(int g, int row) {
        return ((g - firstGroup) * tiles * ROWS + row) * STRIDE;
    }

    /** Packs tiles {@code from} to {@code to} of all these groups' blocks. */
    void pack(List<Term> terms, int from, int to) {
        pack(terms, depth.first(firstGroup), depth.first(endGroup), from, to);
    }

    /** Packs tiles {@code from} to {@code to} of some blocks, each of its term's left operand. */
    void pack(List<Term> terms, int fromBlock, int toBlock, int from, int to) {
        for (int b = fromBlock; b < toBlock; b++) {
            pack(b, terms.get(depth.term(b)).left(), from, to);
        }
    }

    private void pack(int b, Left left, int from, int to) {
        MemorySegment x = left.tensor().segment();
        int cols = left.tensor().cols();
        int k = depth.from(b);
        int length = depth.length(b);
        for (int row = from * ROWS; row < to * ROWS; row++) {
            int start = start(depth.group(b), row) + depth.column(b);
            if (row >= rows) {
                Arrays.fill(data, start, start + length, 0f);
            } else if (left.transposed()) {
                packColumn(x, 4 * ((long) k * cols + firstRow + row), 4L * cols, length, left.scale(), data, start);
            } else if (left.scale() == 1) {
                MemorySegment.copy(x, FLOAT, 4 * ((long) (firstRow + row) * cols + k), data, start, length);
            } else {
                packRow(x, 4 * ((long) (firstRow + row) * cols + k), length, left.scale(), data, start);
            }
        }
    }

    @Override
    public void close() {
        HeapArrays.give(data);
    }

    /** {@code scale} times {@code length} elements of X. */
    private static void packRow(MemorySegment x, long offset, int length, float scale, float[] data, int start) {
        int k = 0;
        for (; k <= length - WIDTH; k += WIDTH) {
            Widen.f32(x, offset + 4L * k).mul(scale).intoArray(data, start + k);
        }
        for (; k < length; k++) {
            data[start + k] = x.get(FLOAT, offset + 4L * k) * scale;
        }
    }

    /** A column of X, whose rows are {@code stride} bytes apart. */
    private static void packColumn(
            MemorySegment x, long offset, long stride, int length, float scale, float[] data, int start) {
        for (int k = 0; k < length; k++) {
            data[start + k] = x.get(FLOAT, offset + k * stride) * scale;
        }
    }
}
