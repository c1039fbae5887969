package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.ORDER;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.RmsNorm;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;

/** {@link RmsNorm} in vectors, rows over all cores; dw is summed up in parts, whose number depends on
 * that of the rows alone, and then in their order. */
final class CpuRmsNorm implements RmsNorm.Kernel {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final int ROWS = 16; // a task
    private static final int PARTS = 64; // of dw's sums, at most

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
        int perTask = Math.max(ROWS, Math.ceilDiv(rows, PARTS));
        int tasks = Math.ceilDiv(rows, perTask);
        float[] parts =
                dw == null ? null : HeapArrays.take(Math.multiplyExact(tasks, cols)); // of dw's sums, [tasks, C]
        MemorySegment dxs = dx == null ? null : dx.tensor().segment();
        workers.run(tasks, task -> {
            int to = Math.min(rows, (task + 1) * perTask);
            if (parts != null) {
                Arrays.fill(parts, task * cols, (task + 1) * cols, 0f);
            }
            for (int t = task * perTask; t < to; t++) {
                long row = 4L * t * cols;
                float scale = rs.getAtIndex(FLOAT, t);
                if (dxs != null) {
                    float mean = dot3(xs, ws, dys, row, cols) / cols;
                    float k = scale * scale * scale * mean;
                    inputGradient(xs, ws, dys, row, scale, k, dxs, dx.accumulate(), cols);
                }
                if (parts != null) {
                    addWeightGradient(xs, dys, row, scale, parts, task * cols, cols);
                }
            }
        });
        if (dw != null) {
            sumUp(parts, tasks, cols, dw.tensor().segment(), dw.accumulate());
            HeapArrays.give(parts);
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
        FloatVector sum0 = FloatVector.zero(FLOATS);
        FloatVector sum1 = sum0;
        int c = 0;
        for (; c <= cols - 2 * WIDTH; c += 2 * WIDTH) {
            long o = 4L * c;
            long p = o + 4L * WIDTH;
            sum0 = load(x, row + o).mul(load(w, o)).fma(load(dy, row + o), sum0);
            sum1 = load(x, row + p).mul(load(w, p)).fma(load(dy, row + p), sum1);
        }
        float sum = Lanes.sum(sum0.add(sum1));
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

    /** sums[c] += dy[t,c] · x[t,c] · r[t] of the row at this byte offset. */
    private static void addWeightGradient(
            MemorySegment x, MemorySegment dy, long row, float r, float[] sums, int start, int cols) {
        FloatVector scale = FloatVector.broadcast(FLOATS, r);
        int c = 0;
        for (; c <= cols - WIDTH; c += WIDTH) {
            long o = row + 4L * c;
            FloatVector product = load(dy, o).mul(load(x, o));
            product.fma(scale, FloatVector.fromArray(FLOATS, sums, start + c)).intoArray(sums, start + c);
        }
        for (; c < cols; c++) {
            long o = row + 4L * c;
            sums[start + c] += dy.get(FLOAT, o) * x.get(FLOAT, o) * r;
        }
    }

    /** dw[c] (+)= sum_p parts[p,c], in the order of the parts; the first becomes the sum. */
    private static void sumUp(float[] parts, int count, int cols, MemorySegment dw, boolean add) {
        for (int p = 1; p < count; p++) {
            for (int c = 0; c < cols; c++) {
                parts[c] += parts[p * cols + c];
            }
        }
        for (int c = 0; c < cols; c++) {
            float before = add ? dw.get(FLOAT, 4L * c) : 0;
            dw.set(FLOAT, 4L * c, before + parts[c]);
        }
    }

    private static FloatVector load(MemorySegment segment, long offset) {
        return FloatVector.fromMemorySegment(FLOATS, segment, offset, ORDER);
    }
}
