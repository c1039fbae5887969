package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.ORDER;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import io.qlora.engine.scalar.Floats;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;

/** Adds rows to rows of another matrix. */
final class RowScatter {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final int COLUMNS = 256; // a task

    private RowScatter() {}

    /**
     * {@code to[rows[n]] += factor · from[n]} for n in order. Split by columns, so that rows may come more than once.
     *
     * @param from [N, C], F32
     * @param rows [N], I32
     * @param to [T, C], F32
     */
    static void add(Workers workers, Tensor from, float factor, Tensor rows, Tensor to) {
        int cols = from.cols();
        MemorySegment source = from.segment();
        MemorySegment target = to.segment();
        workers.run(Math.ceilDiv(cols, COLUMNS), task -> {
            int start = task * COLUMNS;
            int count = Math.min(COLUMNS, cols - start);
            for (long n = 0; n < rows.size(); n++) {
                long row = Floats.index(rows, n, to.rows());
                add(source, 4 * (n * cols + start), factor, target, 4 * (row * cols + start), count);
            }
        });
    }

    /** {@code y += factor · x}, of {@code count} elements at these byte offsets. */
    static void add(MemorySegment x, long xAt, float factor, MemorySegment y, long yAt, int count) {
        int c = 0;
        FloatVector factors = FloatVector.broadcast(FLOATS, factor);
        for (; c <= count - WIDTH; c += WIDTH) {
            FloatVector sum = load(x, xAt + 4L * c).fma(factors, load(y, yAt + 4L * c));
            sum.intoMemorySegment(y, yAt + 4L * c, ORDER);
        }
        for (; c < count; c++) {
            y.set(FLOAT, yAt + 4L * c, Math.fma(x.get(FLOAT, xAt + 4L * c), factor, y.get(FLOAT, yAt + 4L * c)));
        }
    }

    private static FloatVector load(MemorySegment x, long offset) {
        return FloatVector.fromMemorySegment(FLOATS, x, offset, ORDER);
    }
}
