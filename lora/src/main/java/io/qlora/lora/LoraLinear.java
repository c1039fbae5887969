package io.qlora.lora;

import io.qlora.engine.autograd.Backward;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.autograd.Gradients;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.ops.Dropout;
import io.qlora.engine.ops.Sequences;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;
import java.util.List;

/**
 * A frozen linear layer and a low-rank adapter on it, in one node (Hu et al. 2021, "LoRA").
 *
 * <pre>
 *   u  = drop(x) · Aᵀ
 *   y  = x · Wᵀ + s · u · Bᵀ
 *   v  = dy · B
 *   dx = dy · W + drop'(s · v · A)        drop' is drop with the same mask: it is linear
 *   dB = s · dyᵀ · u
 *   dA = s · vᵀ · drop(x)
 * </pre>
 *
 * Saves x, which its caller holds anyway, and u: 4·T·R bytes in float32. The dropout's mask is drawn again on the way
 * back. W has no gradient. Where activations are bfloat16 so are u and v: they are operands of products, which round them
 * to that in any case. A, B and their gradients are float32 always.
 */
public final class LoraLinear {

    private LoraLinear() {}

    /**
     * An adapter's two matrices.
     *
     * @param a A [R, in], F32
     * @param b B [out, R], F32
     * @param scale s
     */
    public record LowRank(Tensor a, Tensor b, float scale) {

        public LowRank {
            Shapes.matrix(a, DType.F32, -1, -1, "LoraLinear", "A");
            Shapes.matrix(b, DType.F32, -1, a.shape().dim(0), "LoraLinear", "B");
        }

        /** R, the adapter's rank. */
        public int rank() {
            return a.length();
        }
    }

    /**
     * What a backend provides. Shapes: x, dropped, dDropped, dx [T, in]; w [out, in]; A, dA [R, in]; B, dB [out, R]; u, v
     * [T, R]; y, dy [T, out].
     */
    public interface Kernel {

        /**
         * Writes u and y.
         *
         * @param dropped drop(x): {@code x} itself where nothing drops
         */
        void forward(Tensor x, Tensor dropped, Weight w, LowRank adapter, Tensor u, Tensor y);

        /** Writes u alone, the same as {@link #forward}, bit for bit. */
        void down(Tensor dropped, LowRank adapter, Tensor u);

        /**
         * Any of {@code dx}, {@code da}, {@code db} is null when not wanted.
         *
         * @param dropped drop(x); read only if {@code da} is wanted
         * @param v memory for v
         * @param dDropped where to put s·v·A when {@code dx} is wanted and something drops: {@code dx} then gets dy·W alone.
         *     May be {@code dropped}, whose elements are not needed after dA. Null otherwise
         */
        void backward(
                Tensor dropped,
                Weight w,
                LowRank adapter,
                Tensor u,
                Tensor dy,
                Tensor v,
                Grad dx,
                Tensor dDropped,
                Grad da,
                Grad db);
    }

    /**
     * The layer's output.
     *
     * @param x [T, in]
     * @param w [out, in], frozen
     * @param adapter A and B, trainable if they are leaves
     * @param mask what is dropped of the adapter's input; null for nothing, as in evaluation
     * @param sequences which document each row belongs to; needed only with a mask
     * @return [T, out]
     * @throws IllegalArgumentException if shapes do not fit, or {@code w} is trainable
     */
    public static Tensor apply(Tape tape, Tensor x, Weight w, LowRank adapter, Dropout.Mask mask, Sequences sequences) {
        Shapes.activation(x, -1, w.in(), "LoraLinear", "x");
        Shapes.matrix(adapter.a, DType.F32, -1, w.in(), "LoraLinear", "A");
        Shapes.matrix(adapter.b, DType.F32, w.out(), -1, "LoraLinear", "B");
        boolean frozen = !(w instanceof DenseWeight dense && tape.tracks(dense.tensor()));
        Shapes.require(frozen, "LoraLinear", "w", "a trainable weight", "frozen: adapt it or train it, not both");
        Tensor y = tape.empty(x.dtype(), x.length(), w.out()); // [T, out]
        Tensor u = tape.empty(x.dtype(), x.length(), adapter.rank()); // [T, R]
        Saved saved = new Saved(tape, x, w, adapter, mask, sequences, u);
        try (Tape.Scratch _ = tape.scratch()) {
            Tensor dropped = mask == null ? x : saved.drop(tape.like(x)); // [T, in]
            Kernel kernel = x.device().kernel(Kernel.class);
            if (tape.needsOutput()) {
                kernel.forward(x, dropped, w, adapter, u, y);
            } else {
                kernel.down(dropped, adapter, u);
            }
        }
        return tape.record(y, List.of(x, adapter.a, adapter.b), saved);
    }

    /** The tape is kept for the scratch memory of the way back. */
    private record Saved(
            Tape tape, Tensor x, Weight w, LowRank adapter, Dropout.Mask mask, Sequences sequences, Tensor u)
            implements Backward {

        Tensor drop(Tensor dropped) {
            dropout().forward(x, mask, sequences.documents(), sequences.positions(), dropped);
            return dropped;
        }

        private Dropout.Kernel dropout() {
            return x.device().kernel(Dropout.Kernel.class);
        }

        @Override
        public void backward(Tensor dy, Gradients gradients) {
            Grad dx = gradients.wanted(x); // [T, in]
            Grad da = gradients.wanted(adapter.a); // [R, in]
            Grad db = gradients.wanted(adapter.b); // [out, R]
            Kernel kernel = x.device().kernel(Kernel.class);
            try (Tape.Scratch _ = tape.scratch()) {
                Tensor v = tape.like(u); // [T, R]
                if (mask == null) {
                    kernel.backward(x, w, adapter, u, dy, v, dx, null, da, db);
                    return;
                }
                Tensor inner = tape.like(x); // [T, in]: drop(x), then its gradient
                if (da != null) {
                    drop(inner);
                }
                kernel.backward(inner, w, adapter, u, dy, v, dx, dx == null ? null : inner, da, db);
                if (dx != null) {
                    Grad more = new Grad(dx.tensor(), true);
                    dropout().backward(inner, mask, sequences.documents(), sequences.positions(), more);
                }
            }
        }
    }
}
