package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.ORDER;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;

/** Where the result of {@link MatMul} goes: to a tensor or its transpose, over or onto what is there. */
final class Result {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final int NR = MicroKernel.COLUMNS;

    private final Tensor c;
    private final MemorySegment segment;
    private final boolean transposed;
    private final boolean accumulate;

    private Result(Tensor c, boolean transposed, boolean accumulate) {
        Shapes.matrix(c, DType.F32, -1, -1, "MatMul", "result");
        this.c = c;
        this.segment = c.segment();
        this.transposed = transposed;
        this.accumulate = accumulate;
    }

    static Result of(Tensor c, boolean accumulate) {
        return new Result(c, false, accumulate);
    }

    static Result transposed(Tensor c, boolean accumulate) {
        return new Result(c, true, accumulate);
    }

    /** Rows of the product, which are columns of the tensor if that is transposed. */
    int rows() {
        return transposed ? c.cols() : c.length();
    }

    int cols() {
        return transposed ? c.length() : c.cols();
    }

    /** Requires the tensor to be of the product's shape, or its transpose's. */
    void require(int rows, int cols) {
        Shapes.matrix(c, DType.F32, transposed ? cols : rows, transposed ? rows : cols, "MatMul", "result");
    }

    /**
     * Writes {@code rows} rows by {@code cols} columns from (row, col) on.
     *
     * @param block element (r, n) at {@code start + r · NR + n}
     */
    void store(float[] block, int start, int row, int rows, int col, int cols) {
        if (transposed) {
            storeTransposed(block, start, row, rows, col, cols);
            return;
        }
        for (int r = 0; r < rows; r++) {
            long offset = 4 * ((long) (row + r) * cols() + col);
            if (cols == NR) {
                storeVectors(block, start + r * NR, segment, offset, accumulate);
            } else {
                storeElements(block, start + r * NR, segment, offset, accumulate, cols);
            }
        }
    }

    private static void storeVectors(float[] block, int start, MemorySegment c, long offset, boolean accumulate) {
        FloatVector left = FloatVector.fromArray(FLOATS, block, start);
        FloatVector right = FloatVector.fromArray(FLOATS, block, start + WIDTH);
        long next = offset + 4L * WIDTH;
        if (accumulate) {
            left = FloatVector.fromMemorySegment(FLOATS, c, offset, ORDER).add(left);
            right = FloatVector.fromMemorySegment(FLOATS, c, next, ORDER).add(right);
        }
        left.intoMemorySegment(c, offset, ORDER);
        right.intoMemorySegment(c, next, ORDER);
    }

    private static void storeElements(
            float[] block, int start, MemorySegment c, long offset, boolean accumulate, int cols) {
        for (int n = 0; n < cols; n++) {
            float value = block[start + n];
            c.set(FLOAT, offset + 4L * n, accumulate ? c.get(FLOAT, offset + 4L * n) + value : value);
        }
    }

    private void storeTransposed(float[] block, int start, int row, int rows, int col, int cols) {
        for (int n = 0; n < cols; n++) {
            long offset = 4 * ((long) (col + n) * rows() + row);
            for (int r = 0; r < rows; r++) {
                float value = block[start + r * NR + n];
                long at = offset + 4L * r;
                segment.set(FLOAT, at, accumulate ? segment.get(FLOAT, at) + value : value);
            }
        }
    }
}
