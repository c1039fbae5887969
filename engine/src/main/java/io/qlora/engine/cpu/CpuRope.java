package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.ORDER;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Rope;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;

/** {@link Rope} in vectors, rows over all cores. Products and sums are rounded one by one, as the reference does. */
final class CpuRope implements Rope.Kernel {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;
    private static final int ROWS = 16; // a task

    private final Workers workers;

    CpuRope(Workers workers) {
        this.workers = workers;
    }

    @Override
    public void forward(Tensor q, Tensor k, Rope.Table table, Tensor positions) {
        rotate(q, k, table, positions, 1, new Grad(q, false), new Grad(k, false));
    }

    @Override
    public void backward(Tensor dyq, Tensor dyk, Rope.Table table, Tensor positions, Grad dq, Grad dk) {
        rotate(dyq, dyk, table, positions, -1, dq, dk);
    }

    /** Rotates both forwards or, with {@code direction} −1, back; not what has no target. */
    private void rotate(Tensor q, Tensor k, Rope.Table table, Tensor positions, float direction, Grad toQ, Grad toK) {
        int rows = Math.toIntExact(positions.size());
        workers.run((rows + ROWS - 1) / ROWS, task -> {
            int to = Math.min(rows, (task + 1) * ROWS);
            if (toQ != null) {
                rotateRows(q, table, positions, direction, toQ, task * ROWS, to);
            }
            if (toK != null) {
                rotateRows(k, table, positions, direction, toK, task * ROWS, to);
            }
        });
    }

    private static void rotateRows(
            Tensor x, Rope.Table table, Tensor positions, float direction, Grad y, int from, int to) {
        int half = table.headSize() / 2;
        MemorySegment cos = table.cos().segment();
        MemorySegment sin = table.sin().segment();
        MemorySegment ps = positions.segment();
        for (int t = from; t < to; t++) {
            long angles = 4L * half * ps.getAtIndex(INT, t);
            for (int head = 0; head < x.cols(); head += 2 * half) {
                long first = 4L * ((long) t * x.cols() + head);
                MemorySegment ys = y.tensor().segment();
                rotateHead(x.segment(), first, cos, sin, angles, half, direction, ys, y.accumulate());
            }
        }
    }

    /** y1 (+)= x1 · cos − x2 · s, y2 (+)= x2 · cos + x1 · s with s = direction · sin; y may be x. */
    private static void rotateHead(
            MemorySegment x,
            long first,
            MemorySegment cos,
            MemorySegment sin,
            long angles,
            int half,
            float direction,
            MemorySegment y,
            boolean add) {
        long second = first + 4L * half;
        int j = 0;
        for (; j <= half - WIDTH; j += WIDTH) {
            long o = 4L * j;
            FloatVector c = load(cos, angles + o);
            FloatVector s = load(sin, angles + o).mul(direction);
            FloatVector x1 = load(x, first + o);
            FloatVector x2 = load(x, second + o);
            FloatVector y1 = x1.mul(c).sub(x2.mul(s));
            FloatVector y2 = x2.mul(c).add(x1.mul(s));
            (add ? y1.add(load(y, first + o)) : y1).intoMemorySegment(y, first + o, ORDER);
            (add ? y2.add(load(y, second + o)) : y2).intoMemorySegment(y, second + o, ORDER);
        }
        for (; j < half; j++) {
            long o = 4L * j;
            float c = cos.get(FLOAT, angles + o);
            float s = sin.get(FLOAT, angles + o) * direction;
            float x1 = x.get(FLOAT, first + o);
            float x2 = x.get(FLOAT, second + o);
            float y1 = x1 * c - x2 * s;
            float y2 = x2 * c + x1 * s;
            y.set(FLOAT, first + o, add ? y1 + y.get(FLOAT, first + o) : y1);
            y.set(FLOAT, second + o, add ? y2 + y.get(FLOAT, second + o) : y2);
        }
    }

    private static FloatVector load(MemorySegment segment, long offset) {
        return FloatVector.fromMemorySegment(FLOATS, segment, offset, ORDER);
    }
}
