package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;

/**
 * Up to {@link #SIDE} rows of a matrix, cut into squares of as many columns: element (row, column) at
 * {@code (column / SIDE · SIDE + row) · SIDE + column % SIDE}. Each square is a right operand of {@link StridedTile}; when
 * they are transposed each in its place, the squares together are one, {@code [column][row]}.
 */
final class Squares {

    /** Rows and columns of a square. */
    static final int SIDE = StridedTile.COLUMNS;

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

    private Squares() {}

    /** Floats that rows of {@code cols} columns take. */
    static int length(int cols) {
        return Math.ceilDiv(cols, SIDE) * SIDE * SIDE;
    }

    /**
     * Reads rows times {@code factor}, the missing ones and the columns beyond {@code cols} zero.
     *
     * @param offset of the first row, bytes
     * @param stride from row to row, bytes
     */
    static void load(MemorySegment x, long offset, long stride, int rows, int cols, float factor, float[] squares) {
        for (int from = 0; from < cols; from += SIDE) {
            int count = Math.min(SIDE, cols - from);
            for (int row = 0; row < rows; row++) {
                load(x, offset + row * stride + 4L * from, count, factor, squares, (from + row) * SIDE);
            }
            Arrays.fill(squares, (from + rows) * SIDE, (from + SIDE) * SIDE, 0f);
        }
    }

    /** A row of a square. */
    private static void load(MemorySegment x, long offset, int count, float factor, float[] squares, int start) {
        if (count == SIDE) {
            Widen.f32(x, offset).mul(factor).intoArray(squares, start);
            Widen.f32(x, offset + 4L * WIDTH).mul(factor).intoArray(squares, start + WIDTH);
            return;
        }
        for (int i = 0; i < count; i++) {
            squares[start + i] = x.get(FLOAT, offset + 4L * i) * factor;
        }
        Arrays.fill(squares, start + count, start + SIDE, 0f);
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
                    Transpose.block(from, square + row * SIDE + col, to, square + col * SIDE + row, SIDE);
                }
            }
        }
    }
}
