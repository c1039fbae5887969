package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorShuffle;

/**
 * Up to {@link #SIDE} rows of a matrix, cut into squares of as many columns: element (row, column) at
 * {@code (column / SIDE · SIDE + row) · SIDE + column % SIDE}. Each square is a right operand of {@link StridedTile}; when
 * they are transposed each in its place, the squares together are one, {@code [column][row]}.
 */
final class Squares {

    /** Rows and columns of a square. */
    static final int SIDE = StridedTile.COLUMNS;

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

    private static final VectorShuffle<Float> SWAP8 = swap(8);
    private static final VectorShuffle<Float> SWAP4 = swap(4);
    private static final VectorShuffle<Float> SWAP2 = swap(2);
    private static final VectorShuffle<Float> SWAP1 = swap(1);
    private static final VectorMask<Float> UPPER8 = upper(8);
    private static final VectorMask<Float> UPPER4 = upper(4);
    private static final VectorMask<Float> UPPER2 = upper(2);
    private static final VectorMask<Float> UPPER1 = upper(1);

    private Squares() {}

    private static VectorShuffle<Float> swap(int distance) {
        return VectorShuffle.fromOp(FLOATS, lane -> (lane ^ distance) % WIDTH);
    }

    private static VectorMask<Float> upper(int distance) {
        boolean[] lanes = new boolean[WIDTH];
        for (int lane = 0; lane < WIDTH; lane++) {
            lanes[lane] = (lane & distance) != 0;
        }
        return VectorMask.fromArray(FLOATS, lanes, 0);
    }

    /** Floats that rows of {@code cols} columns take. */
    static int length(int cols) {
        return Math.ceilDiv(cols, SIDE) * SIDE * SIDE;
    }

    /**
     * Reads rows, the missing ones and the columns beyond {@code cols} zero.
     *
     * @param offset of the first row, bytes
     * @param stride from row to row, bytes
     */
    static void load(MemorySegment x, long offset, long stride, int rows, int cols, float[] squares) {
        for (int from = 0; from < cols; from += SIDE) {
            int count = Math.min(SIDE, cols - from);
            for (int row = 0; row < rows; row++) {
                int start = (from + row) * SIDE;
                MemorySegment.copy(x, FLOAT, offset + row * stride + 4L * from, squares, start, count);
                Arrays.fill(squares, start + count, start + SIDE, 0f);
            }
            Arrays.fill(squares, (from + rows) * SIDE, (from + SIDE) * SIDE, 0f);
        }
    }

    /** Writes rows, or adds to them. */
    static void store(float[] squares, int rows, int cols, MemorySegment x, long offset, long stride, boolean add) {
        for (int from = 0; from < cols; from += SIDE) {
            int count = Math.min(SIDE, cols - from);
            for (int row = 0; row < rows; row++) {
                store(squares, (from + row) * SIDE, count, x, offset + row * stride + 4L * from, add);
            }
        }
    }

    /** Writes part of a row, or adds to it. */
    static void store(float[] values, int start, int count, MemorySegment x, long offset, boolean add) {
        int whole = count / WIDTH * WIDTH;
        // Two loops: a vector that is one of two, chosen inside, would be an object.
        for (int i = 0; i < whole && add; i += WIDTH) {
            FloatVector.fromArray(FLOATS, values, start + i)
                    .add(Widen.f32(x, offset + 4L * i))
                    .intoMemorySegment(x, offset + 4L * i, Lanes.ORDER);
        }
        for (int i = 0; i < whole && !add; i += WIDTH) {
            FloatVector.fromArray(FLOATS, values, start + i).intoMemorySegment(x, offset + 4L * i, Lanes.ORDER);
        }
        for (int i = whole; i < count; i++) {
            float before = add ? x.get(FLOAT, offset + 4L * i) : 0;
            x.set(FLOAT, offset + 4L * i, before + values[start + i]);
        }
    }

    /** Multiplies all rows of {@code cols} columns by {@code factor}. */
    static void scale(float[] squares, int cols, float factor) {
        int length = length(cols);
        for (int i = 0; i < length; i += WIDTH) {
            FloatVector.fromArray(FLOATS, squares, i).mul(factor).intoArray(squares, i);
        }
    }

    /** Transposes each square. */
    static void transpose(float[] from, int cols, float[] to) {
        for (int square = 0; square < length(cols); square += SIDE * SIDE) {
            for (int row = 0; row < SIDE; row += WIDTH) {
                for (int col = 0; col < SIDE; col += WIDTH) {
                    transpose(from, square + row * SIDE + col, to, square + col * SIDE + row);
                }
            }
        }
    }

    /** Transposes WIDTH rows of a vector: halves of the rows are exchanged, then quarters, until single elements are. */
    private static void transpose(float[] from, int fromStart, float[] to, int toStart) {
        if (WIDTH == 16) {
            exchange(from, fromStart, to, toStart, 8, SWAP8, UPPER8);
            exchange(to, toStart, to, toStart, 4, SWAP4, UPPER4);
        } else if (WIDTH == 8) {
            exchange(from, fromStart, to, toStart, 4, SWAP4, UPPER4);
        }
        if (WIDTH >= 8) {
            exchange(to, toStart, to, toStart, 2, SWAP2, UPPER2);
        } else {
            exchange(from, fromStart, to, toStart, 2, SWAP2, UPPER2);
        }
        exchange(to, toStart, to, toStart, 1, SWAP1, UPPER1);
    }

    /** Of each pair of rows so far apart, exchanges the first's upper elements with the second's lower ones. */
    private static void exchange(
            float[] from,
            int fromStart,
            float[] to,
            int toStart,
            int distance,
            VectorShuffle<Float> swap,
            VectorMask<Float> upper) {
        for (int i = 0; i < WIDTH / 2; i++) {
            int first = (i / distance * 2 * distance + i % distance) * SIDE;
            int second = first + distance * SIDE;
            FloatVector a = FloatVector.fromArray(FLOATS, from, fromStart + first);
            FloatVector b = FloatVector.fromArray(FLOATS, from, fromStart + second);
            a.blend(b.rearrange(swap), upper).intoArray(to, toStart + first);
            a.rearrange(swap).blend(b, upper).intoArray(to, toStart + second);
        }
    }
}
