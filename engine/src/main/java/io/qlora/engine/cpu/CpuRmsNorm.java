package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.ORDER;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.RmsNorm;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;

/** {@link RmsNorm} in vectors, rows over all cores; dw over columns, so that its sum has one order. */
final class CpuRmsNorm implements RmsNorm.Kernel {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final int ROWS = 16; // a task
    private static final int COLUMNS = 256; // a task of dw

    private final Workers workers;

    CpuRmsNorm(Workers workers) {
        this.workers = workers;
    }

    @Override
    public void forward(Tensor x, Tensor w, float eps, Tensor y, Tensor r) {
        int rows = x.rows();
        int cols = x.cols();
        MemorySegment xs = x.segment();
        MemorySegment ws = w.segment();
        MemorySegment ys = y.segment();
        MemorySegment rs = r.segment();
        workers.run((rows + ROWS - 1) / ROWS, task -> {
            for (int t = task * ROWS; t < Math.min(rows, (task + 1) * ROWS); t++) {
                long row = 4L * t * cols;
                float mean = dot(xs, row, xs, row, cols) / cols;
                float scale = (float) (1 / Math.sqrt(mean + eps));
                rs.setAtIndex(FLOAT, t, scale);
                scale(xs, row, scale, ws, ys, cols);
            }
        });
    }

    @Override
    public void backward(Tensor x, Tensor w, Tensor r, Tensor dy, Grad dx, Grad dw) {
        int rows = x.rows();
        int cols = x.cols();
        MemorySegment xs = x.segment();
        MemorySegment ws = w.segment();
        MemorySegment rs = r.segment();
        MemorySegment dys = dy.segment();
        if (dx != null) {
            MemorySegment dxs = dx.tensor().segment();
            boolean add = dx.accumulate();
            workers.run((rows + ROWS - 1) / ROWS, task -> {
                for (int t = task * ROWS; t < Math.min(rows, (task + 1) * ROWS); t++) {
                    long row = 4L * t * cols;
                    float scale = rs.getAtIndex(FLOAT, t);
                    float mean = dot3(xs, ws, dys, row, cols) / cols;
                    inputGradient(xs, ws, dys, row, scale, scale * scale * scale * mean, dxs, add, cols);
                }
            });
        }
        if (dw != null) {
            MemorySegment dws = dw.tensor().segment();
            boolean add = dw.accumulate();
            workers.run((cols + COLUMNS - 1) / COLUMNS, task -> {
                int from = task * COLUMNS;
                weightGradient(xs, rs, dys, dws, add, rows, cols, from, Math.min(cols, from + COLUMNS));
            });
        }
    }

    /** sum_c a[c] · b[c] of two rows at these byte offsets. */
    private static float dot(MemorySegment a, long aRow, MemorySegment b, long bRow, int cols) {
        FloatVector sum0 = FloatVector.zero(FLOATS);
        FloatVector sum1 = sum0;
        int c = 0;
        for (; c <= cols - 2 * WIDTH; c += 2 * WIDTH) {
            long o = 4L * c;
            long p = o + 4L * WIDTH;
            sum0 = load(a, aRow + o).fma(load(b, bRow + o), sum0);
            sum1 = load(a, aRow + p).fma(load(b, bRow + p), sum1);
        }
        float sum = Lanes.sum(sum0.add(sum1));
        for (; c < cols; c++) {
            sum += a.get(FLOAT, aRow + 4L * c) * b.get(FLOAT, bRow + 4L * c);
        }
        return sum;
    }

    /** y[c] = x[c] · r · w[c]. */
    private static void scale(MemorySegment x, long row, float r, MemorySegment w, MemorySegment y, int cols) {
        int c = 0;
        for (; c <= cols - WIDTH; c += WIDTH) {
            long o = 4L * c;
            load(x, row + o).mul(r).mul(load(w, o)).intoMemorySegment(y, row + o, ORDER);
        }
        for (; c < cols; c++) {
            y.set(FLOAT, row + 4L * c, x.get(FLOAT, row + 4L * c) * r * w.get(FLOAT, 4L * c));
        }
    }

    /** sum_c x[c] · w[c] · dy[c]. */
    private static float dot3(MemorySegment x, MemorySegment w, MemorySegment dy, long row, int cols) {
        FloatVector sums = FloatVector.zero(FLOATS);
        int c = 0;
        for (; c <= cols - WIDTH; c += WIDTH) {
            long o = 4L * c;
            sums = load(x, row + o).mul(load(w, o)).fma(load(dy, row + o), sums);
        }
        float sum = Lanes.sum(sums);
        for (; c < cols; c++) {
            sum += x.get(FLOAT, row + 4L * c) * w.get(FLOAT, 4L * c) * dy.get(FLOAT, row + 4L * c);
        }
        return sum;
    }

    /** dx[c] (+)= r · w[c] · dy[c] − x[c] · k, with k = r³ · mean(x·w·dy). */
    private static void inputGradient(
            MemorySegment x,
            MemorySegment w,
            MemorySegment dy,
            long row,
            float r,
            float k,
            MemorySegment dx,
            boolean add,
            int cols) {
        int c = 0;
        FloatVector minusK = FloatVector.broadcast(FLOATS, -k);
        for (; c <= cols - WIDTH; c += WIDTH) {
            long o = row + 4L * c;
            FloatVector d =
                    load(x, o).fma(minusK, load(w, 4L * c).mul(load(dy, o)).mul(r));
            (add ? d.add(load(dx, o)) : d).intoMemorySegment(dx, o, ORDER);
        }
        for (; c < cols; c++) {
            long o = row + 4L * c;
            float d = Math.fma(x.get(FLOAT, o), -k, w.get(FLOAT, 4L * c) * dy.get(FLOAT, o) * r);
            dx.set(FLOAT, o, add ? d + dx.get(FLOAT, o) : d);
        }
    }

    /** dw[c] (+)= sum_t dy[t,c] · x[t,c] · r[t] for columns {@code from} to {@code to}. */
    private static void weightGradient(
            MemorySegment x,
            MemorySegment r,
            MemorySegment dy,
            MemorySegment dw,
            boolean add,
            int rows,
            int cols,
            int from,
            int to) {
        float[] sums = new float[to - from];
        for (int t = 0; t < rows; t++) {
            float scale = r.getAtIndex(FLOAT, t);
            long row = 4L * t * cols;
            int c = from;
            for (; c <= to - WIDTH; c += WIDTH) {
                long o = row + 4L * c;
                FloatVector product = load(dy, o).mul(load(x, o));
                product.fma(FloatVector.broadcast(FLOATS, scale), FloatVector.fromArray(FLOATS, sums, c - from))
                        .intoArray(sums, c - from);
            }
            for (; c < to; c++) {
                long o = row + 4L * c;
                sums[c - from] += dy.get(FLOAT, o) * x.get(FLOAT, o) * scale;
            }
        }
        for (int c = from; c < to; c++) {
            float before = add ? dw.get(FLOAT, 4L * c) : 0;
            dw.set(FLOAT, 4L * c, before + sums[c - from]);
        }
    }

    private static FloatVector load(MemorySegment segment, long offset) {
        return FloatVector.fromMemorySegment(FLOATS, segment, offset, ORDER);
    }
}
