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

/** Where the result of {@link MatMul} goes: to a tensor, over or onto what is there. */
final class Result {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final int NR = MicroKernel.COLUMNS;

    private final Tensor c;
    private final MemorySegment segment;
    private final boolean accumulate;

    private Result(Tensor c, boolean accumulate) {
        Shapes.matrix(c, DType.F32, -1, -1, "MatMul", "result");
        this.c = c;
        this.segment = c.segment();
        this.accumulate = accumulate;
    }

    static Result of(Tensor c, boolean accumulate) {
        return new Result(c, accumulate);
    }

    int rows() {
        return c.length();
    }

    int cols() {
        return c.cols();
    }

    /** Requires the tensor to be of the product's shape. */
    void require(int rows, int cols) {
        Shapes.matrix(c, DType.F32, rows, cols, "MatMul", "result");
    }

    /**
     * Writes {@code rows} rows by {@code cols} columns from (row, col) on.
     *
     * @param block element (r, n) at {@code n / NR · panel + r · NR + n % NR}
     */
    void store(float[] block, int panel, int row, int rows, int col, int cols) {
        int panels = cols / NR;
        long offset = 4 * ((long) row * cols() + col);
        if (panels > 0 && accumulate) {
            addPanels(block, panel, panels, rows, segment, offset, 4L * cols());
        } else if (panels > 0) {
            writePanels(block, panel, panels, rows, segment, offset, 4L * cols());
        }
        if (cols % NR > 0) {
            storeRest(block, panels * panel, rows, cols % NR, offset + 4L * panels * NR);
        }
    }

    /** What does not fill a panel. */
    private void storeRest(float[] block, int start, int rows, int cols, long offset) {
        long stride = 4L * cols();
        int whole = cols / WIDTH * WIDTH;
        if (whole > 0 && accumulate) {
            add(block, start, rows, segment, offset, stride);
        } else if (whole > 0) {
            write(block, start, rows, segment, offset, stride);
        }
        for (int r = 0; r < rows && whole < cols; r++) {
            for (int n = whole; n < cols; n++) {
                float value = block[start + r * NR + n];
                long at = offset + r * stride + 4L * n;
                segment.set(FLOAT, at, accumulate ? segment.get(FLOAT, at) + value : value);
            }
        }
    }

    // Row by row: rows are pages apart. Methods of their own: a vector that is one of two, chosen inside, would be an
    // object.

    private static void writePanels(
            float[] block, int panel, int panels, int rows, MemorySegment c, long offset, long stride) {
        for (int r = 0; r < rows; r++) {
            for (int p = 0; p < panels; p++) {
                int i = p * panel + r * NR;
                long at = offset + r * stride + 4L * NR * p;
                FloatVector.fromArray(FLOATS, block, i).intoMemorySegment(c, at, ORDER);
                FloatVector.fromArray(FLOATS, block, i + WIDTH).intoMemorySegment(c, at + 4L * WIDTH, ORDER);
            }
        }
    }

    private static void addPanels(
            float[] block, int panel, int panels, int rows, MemorySegment c, long offset, long stride) {
        for (int r = 0; r < rows; r++) {
            for (int p = 0; p < panels; p++) {
                int i = p * panel + r * NR;
                long left = offset + r * stride + 4L * NR * p;
                long right = left + 4L * WIDTH;
                Widen.f32(c, left).add(FloatVector.fromArray(FLOATS, block, i)).intoMemorySegment(c, left, ORDER);
                Widen.f32(c, right)
                        .add(FloatVector.fromArray(FLOATS, block, i + WIDTH))
                        .intoMemorySegment(c, right, ORDER);
            }
        }
    }

    private static void write(float[] block, int start, int rows, MemorySegment c, long offset, long stride) {
        for (int r = 0; r < rows; r++) {
            FloatVector.fromArray(FLOATS, block, start + r * NR).intoMemorySegment(c, offset + r * stride, ORDER);
        }
    }

    private static void add(float[] block, int start, int rows, MemorySegment c, long offset, long stride) {
        for (int r = 0; r < rows; r++) {
            long at = offset + r * stride;
            FloatVector after = Widen.f32(c, at).add(FloatVector.fromArray(FLOATS, block, start + r * NR));
            after.intoMemorySegment(c, at, ORDER);
        }
    }
}
