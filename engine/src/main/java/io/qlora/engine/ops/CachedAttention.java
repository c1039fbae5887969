package io.qlora.engine.ops;

import io.qlora.engine.autograd.Tape;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;

/**
 * {@link Attention} of one document's newest tokens to all of its tokens so far, whose keys and values are in a cache: how
 * text is generated. It has no backward pass, and refuses tensors that would need one.
 *
 * <pre>
 *   y[i,h] = sum_{u ≤ past+i} softmax_u(q[i,h]·k[u,g] / √D) · v[u,g]          g = h·K/H
 * </pre>
 */
public final class CachedAttention {

    private CachedAttention() {}

    /** What a backend provides. Shapes: q, y [N, H·D]; k, v [max, K·D], rows 0 to past + N of which are set. */
    public interface Kernel {
        void forward(Tensor q, Tensor k, Tensor v, int past, int heads, int kvHeads, Tensor y);
    }

    /**
     * Attends from the N newest tokens.
     *
     * @param q [N, H·D], rotated
     * @param k [max, K·D], the rotated keys, those of the newest tokens already in rows past to past + N
     * @param v [max, K·D], the values, likewise
     * @param past how many tokens were there before
     * @param heads H, a multiple of K
     * @param kvHeads K
     * @return [N, H·D]
     * @throws IllegalStateException if the tape tracks q, k or v
     */
    public static Tensor apply(Tape tape, Tensor q, Tensor k, Tensor v, int past, int heads, int kvHeads) {
        if (tape.tracks(q) || tape.tracks(k) || tape.tracks(v)) {
            throw new IllegalStateException(
                    "CachedAttention has no gradient, but what it was given depends on a trainable tensor: use Attention to"
                            + " train, or Tape.inference to generate");
        }
        int size = Attention.headSize("CachedAttention", q, heads, kvHeads);
        Shapes.activation(q, -1, -1, "CachedAttention", "q");
        Shapes.matrix(k, q.dtype(), -1, (long) kvHeads * size, "CachedAttention", "k");
        Shapes.require(v, q.dtype(), k.shape(), "CachedAttention", "v");
        Shapes.require(
                past >= 0 && past + (long) q.rows() <= k.rows(),
                "CachedAttention",
                "past",
                past,
                "at most " + (k.rows() - q.rows()) + ", so that " + q.rows() + " new tokens fit in the cache");
        Tensor y = tape.like(q); // [N, H·D]
        q.device().kernel(Kernel.class).forward(q, k, v, past, heads, kvHeads, y);
        return y;
    }
}
