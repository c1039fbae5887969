package io.qlora.engine.ops;

import io.qlora.engine.autograd.Backward;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.autograd.Gradients;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;
import java.util.List;

/**
 * Scaled dot-product attention, grouped-query, causal within a document: a query sees its own position and those before
 * it in its document. Query head h uses key/value head g = h·K/H.
 *
 * <pre>
 *   s[h,t,u] = q[t,h]·k[u,g] / √D                    u ≤ t, both in one document
 *   L[h,t]   = log sum_u exp(s[h,t,u])
 *   p[h,t,u] = exp(s[h,t,u] − L[h,t])
 *   y[t,h]   = sum_u p[h,t,u] · v[u,g]
 *
 *   Δ[h,t]    = dy[t,h]·y[t,h]
 *   ds[h,t,u] = p[h,t,u] · (dy[t,h]·v[u,g] − Δ[h,t])
 *   dq[t,h]   = sum_u ds[h,t,u] · k[u,g] / √D
 *   dk[u,g]   = sum_h sum_t ds[h,t,u] · q[t,h] / √D      over the heads h of group g
 *   dv[u,g]   = sum_h sum_t p[h,t,u] · dy[t,h]
 * </pre>
 *
 * <p>A document's first query sees one key, whose weight is 1: on the processor its ds is exactly 0, as in a softmax's own
 * derivative, where the difference above would leave what was rounded.
 *
 * <p>As in FlashAttention-2 (Dao 2023, arXiv 2307.08691) nothing of size T×T is ever in memory: the forward pass keeps a
 * running maximum and sum, the backward pass computes p again from L. Saves q, k, v, y and L, 4·T·(2·H·D + 2·K·D + H)
 * bytes in float32.
 */
public final class Attention {

    private Attention() {}

    /**
     * Whose rows and columns are whose.
     *
     * @param offsets I32 [S+1], where documents start: {@link Sequences#offsets}
     * @param longest the length of the longest document
     * @param heads H
     * @param kvHeads K
     */
    public record Layout(Tensor offsets, int longest, int heads, int kvHeads) {}

    /**
     * What a backend provides. Shapes: q, y, dy, dq [T, H·D]; k, v, dk, dv [T, K·D]; logSumExp, delta [H, T], always
     * float32.
     */
    public interface Kernel {
        void forward(Tensor q, Tensor k, Tensor v, Layout layout, Tensor y, Tensor logSumExp);

        /**
         * Any of {@code dq}, {@code dk}, {@code dv} is null when not wanted.
         *
         * @param delta room for Δ, undefined
         */
        void backward(
                Tensor q,
                Tensor k,
                Tensor v,
                Tensor y,
                Tensor logSumExp,
                Tensor dy,
                Layout layout,
                Tensor delta,
                Grad dq,
                Grad dk,
                Grad dv);
    }

    /**
     * Attends within each document.
     *
     * @param q [T, H·D], rotated
     * @param k [T, K·D], rotated
     * @param v [T, K·D]
     * @param sequences the documents, T tokens in all
     * @param heads H, a multiple of K
     * @param kvHeads K
     * @return [T, H·D]
     */
    public static Tensor apply(Tape tape, Tensor q, Tensor k, Tensor v, Sequences sequences, int heads, int kvHeads) {
        int tokens = sequences.tokens();
        int size = headSize("Attention", q, heads, kvHeads);
        Shapes.activation(q, tokens, -1, "Attention", "q");
        Shapes.require(k, q.dtype(), Shape.of(tokens, (long) kvHeads * size), "Attention", "k");
        Shapes.require(v, q.dtype(), k.shape(), "Attention", "v");
        Tensor y = tape.like(q); // [T, H·D]
        Tensor logSumExp = tape.empty(DType.F32, heads, tokens); // [H, T]
        Layout layout = new Layout(sequences.offsets(), sequences.longest(), heads, kvHeads);
        q.device().kernel(Kernel.class).forward(q, k, v, layout, y, logSumExp);
        return tape.record(y, List.of(q, k, v), new Saved(tape, q, k, v, y, logSumExp, layout));
    }

    /** D, of queries of H heads that K key/value heads serve. */
    static int headSize(String op, Tensor q, int heads, int kvHeads) {
        Shapes.require(
                heads > 0 && kvHeads > 0 && heads % kvHeads == 0,
                op,
                "the number of heads",
                heads,
                "a multiple of the " + kvHeads + " key/value heads");
        Shapes.require(
                q.shape().rank() == 2 && q.cols() % heads == 0 && q.cols() > 0,
                op,
                "q",
                q,
                "[T, H·D] with H = " + heads);
        return q.cols() / heads;
    }

    private record Saved(Tape tape, Tensor q, Tensor k, Tensor v, Tensor y, Tensor logSumExp, Layout layout)
            implements Backward {
        @Override
        public void backward(Tensor dy, Gradients gradients) {
            Grad dq = gradients.wanted(q); // [T, H·D]
            Grad dk = gradients.wanted(k); // [T, K·D]
            Grad dv = gradients.wanted(v); // [T, K·D]
            try (Tape.Scratch _ = tape.scratch()) {
                Tensor delta = tape.like(logSumExp); // [H, T]
                Kernel kernel = q.device().kernel(Kernel.class);
                kernel.backward(q, k, v, y, logSumExp, dy, layout, delta, dq, dk, dv);
            }
        }
    }
}
