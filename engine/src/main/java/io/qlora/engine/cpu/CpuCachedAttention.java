package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.CausalScores.LANES;
import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import io.qlora.engine.ops.CachedAttention;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;

/**
 * {@link CachedAttention} in vectors, key/value heads over all cores. Several new tokens, a prompt, go the way of
 * {@link CpuAttention}; a single one, where reading the cache is most of the work, reads it where it is.
 */
final class CpuCachedAttention implements CachedAttention.Kernel {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final int TASK_QUERIES = 64;

    private final Workers workers;

    CpuCachedAttention(Workers workers) {
        this.workers = workers;
    }

    @Override
    public void forward(Tensor q, Tensor k, Tensor v, int past, int heads, int kvHeads, Tensor y) {
        if (q.rows() == 1) {
            workers.run(kvHeads, kvHead -> single(q, k, v, past + 1, heads / kvHeads, kvHead, heads, y));
        } else {
            int blocks = Math.ceilDiv(q.rows(), TASK_QUERIES);
            workers.run(blocks * kvHeads, task -> {
                int from = (blocks - 1 - task / kvHeads) * TASK_QUERIES; // the longest first
                int to = Math.min(q.rows(), from + TASK_QUERIES);
                several(q, k, v, past, from, to, heads / kvHeads, task % kvHeads, heads, y);
            });
        }
    }

    private static void several(
            Tensor q, Tensor k, Tensor v, int past, int from, int to, int group, int kvHead, int heads, Tensor y) {
        int size = q.cols() / heads;
        long rowBytes = 4L * q.cols();
        AttentionForward attention = AttentionForward.own();
        attention.attendTo(k.segment(), v.segment(), 4L * kvHead * size, 4L * k.cols(), past + to, size);
        for (int head = kvHead * group; head < (kvHead + 1) * group; head++) {
            for (int first = from; first < to; first += LANES) {
                int count = Math.min(LANES, to - first);
                long at = first * rowBytes + 4L * head * size;
                attention.attend(q.segment(), at, rowBytes, count, past + first, y.segment(), null, 0);
            }
        }
    }

    /** All heads of one group, attending to {@code count} keys. */
    private static void single(Tensor q, Tensor k, Tensor v, int count, int group, int kvHead, int heads, Tensor y) {
        int size = q.cols() / heads;
        long offset = 4L * kvHead * size;
        long rowBytes = 4L * k.cols();
        float scale = (float) (1 / Math.sqrt(size));
        float[] p = PanelScratch.ofThread().floats(count + WIDTH);
        for (int head = kvHead * group; head < (kvHead + 1) * group; head++) {
            long query = 4L * head * size;
            scores(q.segment(), query, k.segment(), offset, rowBytes, count, size, scale, p);
            float sum = exponentials(p, count);
            mean(v.segment(), offset, rowBytes, count, size, p, 1 / sum, y.segment(), query);
        }
    }

    private static void scores(
            MemorySegment q,
            long query,
            MemorySegment k,
            long offset,
            long rowBytes,
            int count,
            int size,
            float scale,
            float[] scores) {
        for (int u = 0; u < count; u++) {
            long key = offset + u * rowBytes;
            FloatVector sums = FloatVector.zero(FLOATS);
            int d = 0;
            for (; d <= size - WIDTH; d += WIDTH) {
                sums = Widen.f32(q, query + 4L * d).fma(Widen.f32(k, key + 4L * d), sums);
            }
            float sum = Lanes.sum(sums);
            for (; d < size; d++) {
                sum += q.get(FLOAT, query + 4L * d) * k.get(FLOAT, key + 4L * d);
            }
            scores[u] = sum * scale;
        }
    }

    /** Turns scores into e^(score − maximum), and returns their sum. */
    private static float exponentials(float[] scores, int count) {
        int whole = Math.ceilDiv(count, WIDTH) * WIDTH;
        Arrays.fill(scores, count, whole, Float.NEGATIVE_INFINITY);
        FloatVector largest = FloatVector.broadcast(FLOATS, Float.NEGATIVE_INFINITY);
        for (int u = 0; u < whole; u += WIDTH) {
            // A NaN is never greater; it comes through below, where it meets the exponential.
            FloatVector score = FloatVector.fromArray(FLOATS, scores, u);
            largest = largest.blend(score, score.compare(VectorOperators.GT, largest));
        }
        FloatVector max = FloatVector.broadcast(FLOATS, Lanes.max(largest));
        FloatVector sums = FloatVector.zero(FLOATS);
        for (int u = 0; u < whole; u += WIDTH) {
            FloatVector p = Lanes.exp(FloatVector.fromArray(FLOATS, scores, u).sub(max));
            p.intoArray(scores, u);
            sums = sums.add(p);
        }
        return Lanes.sum(sums);
    }

    /** y[d] = factor · sum_u p[u] · v[u, d]. */
    private static void mean(
            MemorySegment v,
            long offset,
            long rowBytes,
            int count,
            int size,
            float[] p,
            float factor,
            MemorySegment y,
            long output) {
        int d = 0;
        for (; d <= size - WIDTH; d += WIDTH) {
            column(v, offset + 4L * d, rowBytes, count, p)
                    .mul(factor)
                    .intoMemorySegment(y, output + 4L * d, Lanes.ORDER);
        }
        for (; d < size; d++) {
            float sum = 0;
            for (int u = 0; u < count; u++) {
                sum += p[u] * v.get(FLOAT, offset + u * rowBytes + 4L * d);
            }
            y.set(FLOAT, output + 4L * d, sum * factor);
        }
    }

    /** A vector's width of columns, two sums at a time so that one need not wait for the other. */
    private static FloatVector column(MemorySegment v, long offset, long rowBytes, int count, float[] p) {
        FloatVector even = FloatVector.zero(FLOATS);
        FloatVector odd = FloatVector.zero(FLOATS);
        int u = 0;
        for (; u < count - 1; u += 2) {
            long at = offset + u * rowBytes;
            even = Widen.f32(v, at).fma(FloatVector.broadcast(FLOATS, p[u]), even);
            odd = Widen.f32(v, at + rowBytes).fma(FloatVector.broadcast(FLOATS, p[u + 1]), odd);
        }
        if (u < count) {
            even = Widen.f32(v, offset + u * rowBytes).fma(FloatVector.broadcast(FLOATS, p[u]), even);
        }
        return even.add(odd);
    }
}
