package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.CausalScores.LANES;
import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Attention;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;

/**
 * {@link Attention} in vectors. Forward, a task is a key/value head and some queries of its group in one document;
 * backward, a key/value head and a document, whose keys' gradients are then summed by one thread in a fixed order.
 */
final class CpuAttention implements Attention.Kernel {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;

    /** Rows of a forward task, all heads of the group together: many, for each task copies its keys and values. */
    private static final int TASK_ROWS = 256;

    /** Queries of a forward task at least; a multiple of any number of lanes. */
    private static final int TASK_QUERIES = 64;

    private static final int DELTA_ROWS = 16; // a task

    private final Workers workers;

    CpuAttention(Workers workers) {
        this.workers = workers;
    }

    /** One head's rows in a [T, heads · D] tensor. */
    private static long offset(int row, int head, int size, long rowBytes) {
        return row * rowBytes + 4L * head * size;
    }

    @Override
    public void forward(Tensor q, Tensor k, Tensor v, Attention.Layout layout, Tensor y, Tensor logSumExp) {
        int kvHeads = layout.kvHeads();
        int group = layout.heads() / kvHeads;
        int queries = Math.max(TASK_QUERIES, TASK_ROWS / group / TASK_QUERIES * TASK_QUERIES);
        int[] starts = starts(layout);
        int[] firstTasks = firstTasks(starts, queries, kvHeads);
        workers.run(firstTasks[firstTasks.length - 1], task -> {
            int s = document(firstTasks, task);
            int blocks = (firstTasks[s + 1] - firstTasks[s]) / kvHeads;
            int head = (task - firstTasks[s]) % kvHeads;
            int block = blocks - 1 - (task - firstTasks[s]) / kvHeads; // the longest first
            int from = block * queries;
            int to = Math.min(from + queries, starts[s + 1] - starts[s]);
            forward(q, k, v, layout, starts[s], head, from, to, y, logSumExp);
        });
    }

    /** Queries {@code from} to {@code to} of the document that starts at row {@code start}. */
    private static void forward(
            Tensor q,
            Tensor k,
            Tensor v,
            Attention.Layout layout,
            int start,
            int kvHead,
            int from,
            int to,
            Tensor y,
            Tensor logSumExp) {
        int size = q.cols() / layout.heads();
        int group = layout.heads() / layout.kvHeads();
        long rowBytes = 4L * q.cols();
        long kvRowBytes = 4L * k.cols();
        AttentionForward attention = AttentionForward.own();
        attention.attendTo(k.segment(), v.segment(), offset(start, kvHead, size, kvRowBytes), kvRowBytes, to, size);
        for (int head = kvHead * group; head < (kvHead + 1) * group; head++) {
            for (int first = from; first < to; first += LANES) {
                int count = Math.min(LANES, to - first);
                long at = offset(start + first, head, size, rowBytes);
                long log = 4L * ((long) head * q.rows() + start + first);
                attention.attend(q.segment(), at, rowBytes, count, first, y.segment(), logSumExp.segment(), log);
            }
        }
    }

    @Override
    public void backward(
            Tensor q,
            Tensor k,
            Tensor v,
            Tensor y,
            Tensor logSumExp,
            Tensor dy,
            Attention.Layout layout,
            Tensor delta,
            Grad dq,
            Grad dk,
            Grad dv) {
        int rows = q.rows();
        workers.run(Math.ceilDiv(rows, DELTA_ROWS), task -> {
            int from = task * DELTA_ROWS;
            delta(y.segment(), dy.segment(), from, Math.min(rows, from + DELTA_ROWS), layout.heads(), delta);
        });
        int[] starts = starts(layout);
        int kvHeads = layout.kvHeads();
        workers.run((starts.length - 1) * kvHeads, task -> {
            int start = starts[task / kvHeads];
            int count = starts[task / kvHeads + 1] - start;
            backward(q, k, v, logSumExp, dy, layout, delta, dq, dk, dv, start, count, task % kvHeads);
        });
    }

    /** One key/value head of one document. */
    private static void backward(
            Tensor q,
            Tensor k,
            Tensor v,
            Tensor logSumExp,
            Tensor dy,
            Attention.Layout layout,
            Tensor delta,
            Grad dq,
            Grad dk,
            Grad dv,
            int start,
            int count,
            int kvHead) {
        int size = q.cols() / layout.heads();
        int group = layout.heads() / layout.kvHeads();
        long rowBytes = 4L * q.cols();
        long kvRowBytes = 4L * k.cols();
        long kvOffset = offset(start, kvHead, size, kvRowBytes);
        MemorySegment dqs = dq == null ? null : dq.tensor().segment();
        boolean add = dq != null && dq.accumulate();
        AttentionBackward attention = AttentionBackward.own();
        attention.attendTo(k.segment(), v.segment(), kvOffset, kvRowBytes, count, size);
        for (int head = kvHead * group; head < (kvHead + 1) * group; head++) {
            for (int first = 0; first < count; first += LANES) {
                int queries = Math.min(LANES, count - first);
                long at = offset(start + first, head, size, rowBytes);
                long log = 4L * ((long) head * q.rows() + start + first);
                attention.attend(
                        q.segment(),
                        dy.segment(),
                        at,
                        rowBytes,
                        queries,
                        first,
                        logSumExp.segment(),
                        delta.segment(),
                        log,
                        dqs,
                        add);
            }
        }
        if (dk != null) {
            attention.storeKeyGradients(dk.tensor().segment(), kvOffset, kvRowBytes, count, dk.accumulate());
        }
        if (dv != null) {
            attention.storeValueGradients(dv.tensor().segment(), kvOffset, kvRowBytes, count, dv.accumulate());
        }
    }

    /** Δ of rows {@code from} to {@code to}: dy·y head by head. */
    private static void delta(MemorySegment y, MemorySegment dy, int from, int to, int heads, Tensor delta) {
        int rows = delta.cols();
        int size = Math.toIntExact(y.byteSize() / 4 / rows / heads);
        for (int t = from; t < to; t++) {
            for (int h = 0; h < heads; h++) {
                float dot = dot(y, dy, 4L * ((long) t * heads + h) * size, size);
                delta.segment().setAtIndex(FLOAT, (long) h * rows + t, dot);
            }
        }
    }

    private static float dot(MemorySegment a, MemorySegment b, long offset, int size) {
        FloatVector sums = FloatVector.zero(FLOATS);
        int i = 0;
        for (; i <= size - WIDTH; i += WIDTH) {
            sums = Widen.f32(a, offset + 4L * i).fma(Widen.f32(b, offset + 4L * i), sums);
        }
        float sum = Lanes.sum(sums);
        for (; i < size; i++) {
            sum += a.get(FLOAT, offset + 4L * i) * b.get(FLOAT, offset + 4L * i);
        }
        return sum;
    }

    private static int[] starts(Attention.Layout layout) {
        int[] starts = new int[layout.offsets().length()];
        for (int s = 0; s < starts.length; s++) {
            starts[s] = layout.offsets().segment().getAtIndex(INT, s);
        }
        return starts;
    }

    /** Each document's first task, and the number of tasks. */
    private static int[] firstTasks(int[] starts, int queries, int kvHeads) {
        int[] firstTasks = new int[starts.length];
        for (int s = 1; s < starts.length; s++) {
            int blocks = Math.ceilDiv(starts[s] - starts[s - 1], queries);
            firstTasks[s] = Math.addExact(firstTasks[s - 1], blocks * kvHeads);
        }
        return firstTasks;
    }

    private static int document(int[] firstTasks, int task) {
        int s = 0;
        while (task >= firstTasks[s + 1]) {
            s++;
        }
        return s;
    }
}
