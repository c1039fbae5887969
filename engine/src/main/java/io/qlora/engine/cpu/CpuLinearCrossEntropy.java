package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.ORDER;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.LinearCrossEntropy;
import io.qlora.engine.scalar.Floats;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/** {@link LinearCrossEntropy} in vectors, rows of logits over all cores. A row's rest is a masked vector. */
final class CpuLinearCrossEntropy implements LinearCrossEntropy.Kernel {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final int ELEMENTS = 1 << 14; // a task's, about

    private final Workers workers;

    CpuLinearCrossEntropy(Workers workers) {
        this.workers = workers;
    }

    @Override
    public void nll(Tensor logits, Tensor targets, float scale, boolean gradient, Tensor nll) {
        int rows = logits.rows();
        int cols = logits.cols();
        int perTask = Math.max(1, ELEMENTS / Math.max(1, cols));
        MemorySegment z = logits.segment();
        MemorySegment losses = nll.segment();
        workers.run(Math.ceilDiv(rows, perTask), task -> {
            for (int n = task * perTask; n < Math.min(rows, (task + 1) * perTask); n++) {
                long row = 4L * n * cols;
                long at = row + 4L * Floats.index(targets, n, cols);
                float target = z.get(FLOAT, at);
                float max = max(z, row, cols);
                float sum = gradient ? exponentiate(z, row, cols, max) : sumOfExponentials(z, row, cols, max);
                losses.setAtIndex(FLOAT, n, (float) (StrictMath.log(sum) + max - target));
                if (gradient) {
                    multiply(z, row, cols, scale / sum);
                    z.set(FLOAT, at, z.get(FLOAT, at) - scale);
                }
            }
        });
    }

    /** The largest, NaN left out: it comes through when it meets the exponential. Four at a time, none waits for another. */
    private static float max(MemorySegment z, long row, int cols) {
        FloatVector max0 = FloatVector.broadcast(FLOATS, Float.NEGATIVE_INFINITY);
        FloatVector max1 = max0;
        FloatVector max2 = max0;
        FloatVector max3 = max0;
        int v = 0;
        for (; v <= cols - 4 * WIDTH; v += 4 * WIDTH) {
            FloatVector z0 = load(z, row + 4L * v);
            FloatVector z1 = load(z, row + 4L * (v + WIDTH));
            FloatVector z2 = load(z, row + 4L * (v + 2 * WIDTH));
            FloatVector z3 = load(z, row + 4L * (v + 3 * WIDTH));
            max0 = max0.blend(z0, z0.compare(VectorOperators.GT, max0));
            max1 = max1.blend(z1, z1.compare(VectorOperators.GT, max1));
            max2 = max2.blend(z2, z2.compare(VectorOperators.GT, max2));
            max3 = max3.blend(z3, z3.compare(VectorOperators.GT, max3));
        }
        float max = Lanes.max(max0.max(max1).max(max2.max(max3)));
        for (; v < cols; v++) {
            float value = z.get(FLOAT, row + 4L * v);
            max = value > max ? value : max;
        }
        return max;
    }

    /** sum_v exp(z[v] − max). */
    private static float sumOfExponentials(MemorySegment z, long row, int cols, float max) {
        FloatVector sum = FloatVector.zero(FLOATS);
        int v = 0;
        for (; v <= cols - WIDTH; v += WIDTH) {
            sum = sum.add(Lanes.exp(load(z, row + 4L * v).sub(max)));
        }
        VectorMask<Float> rest = FLOATS.indexInRange(v, cols);
        return Lanes.sum(sum.add(Lanes.exp(load(z, row + 4L * v, rest).sub(max)), rest));
    }

    /** The same sum, its terms left in place of z. */
    private static float exponentiate(MemorySegment z, long row, int cols, float max) {
        FloatVector sum = FloatVector.zero(FLOATS);
        int v = 0;
        for (; v <= cols - WIDTH; v += WIDTH) {
            FloatVector e = Lanes.exp(load(z, row + 4L * v).sub(max));
            e.intoMemorySegment(z, row + 4L * v, ORDER);
            sum = sum.add(e);
        }
        VectorMask<Float> rest = FLOATS.indexInRange(v, cols);
        FloatVector e = Lanes.exp(load(z, row + 4L * v, rest).sub(max));
        e.intoMemorySegment(z, row + 4L * v, ORDER, rest);
        return Lanes.sum(sum.add(e, rest));
    }

    private static void multiply(MemorySegment z, long row, int cols, float factor) {
        int v = 0;
        for (; v <= cols - WIDTH; v += WIDTH) {
            load(z, row + 4L * v).mul(factor).intoMemorySegment(z, row + 4L * v, ORDER);
        }
        VectorMask<Float> rest = FLOATS.indexInRange(v, cols);
        load(z, row + 4L * v, rest).mul(factor).intoMemorySegment(z, row + 4L * v, ORDER, rest);
    }

    @Override
    public void sum(Tensor nll, float scale, Tensor loss) {
        MemorySegment losses = nll.segment();
        double sum = 0;
        for (long n = 0; n < nll.size(); n++) {
            sum += losses.getAtIndex(FLOAT, n);
        }
        loss.segment().set(FLOAT, 0, (float) (scale * sum));
    }

    @Override
    public void scatter(Tensor gathered, Tensor rows, Tensor dloss, Grad dx) {
        if (!dx.accumulate()) {
            gathered.device().zero(dx.tensor());
        }
        RowScatter.add(workers, gathered, dloss.segment().get(FLOAT, 0), rows, dx.tensor());
    }

    @Override
    public void scale(Tensor saved, Tensor dloss, Grad dhead) {
        float factor = dloss.segment().get(FLOAT, 0);
        MemorySegment source = saved.segment();
        MemorySegment target = dhead.tensor().segment();
        int cols = saved.cols();
        if (!dhead.accumulate()) {
            saved.device().zero(dhead.tensor());
        }
        int perTask = Math.max(1, ELEMENTS / Math.max(1, cols));
        workers.run(Math.ceilDiv(saved.rows(), perTask), task -> {
            int from = task * perTask;
            int count = (Math.min(saved.rows(), from + perTask) - from) * cols;
            RowScatter.add(source, 4L * from * cols, factor, target, 4L * from * cols, count);
        });
    }

    private static FloatVector load(MemorySegment z, long offset) {
        return FloatVector.fromMemorySegment(FLOATS, z, offset, ORDER);
    }

    private static FloatVector load(MemorySegment z, long offset, VectorMask<Float> lanes) {
        return FloatVector.fromMemorySegment(FLOATS, z, offset, ORDER, lanes);
    }
}
