package io.qlora.engine.ops;

import io.qlora.engine.autograd.Backward;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.autograd.Gradients;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;
import java.util.List;

/**
 * A linear layer without bias, of a weight that is stored element by element.
 *
 * <pre>
 *   y  = x · Wᵀ
 *   dx = dy · W
 *   dW = dyᵀ · x          only when W is trainable
 * </pre>
 *
 * Saves x, 4·T·in bytes in float32, which only dW needs, and its caller holds anyway.
 */
public final class Linear {

    private Linear() {}

    /** What a backend provides. Shapes: x, dx [T, in]; w [out, in], F32, F16 or BF16; dw as w, F32; y, dy [T, out]. */
    public interface Kernel {
        void forward(Tensor x, Tensor w, Tensor y);

        /** Either of {@code dx}, {@code dw} is null when not wanted. */
        void backward(Tensor x, Tensor w, Tensor dy, Grad dx, Grad dw);
    }

    /**
     * The layer's output.
     *
     * @param x [T, in]
     * @param w [out, in]; trainable if its tensor is a leaf
     * @return [T, out]
     */
    public static Tensor apply(Tape tape, Tensor x, DenseWeight w) {
        Shapes.activation(x, -1, w.in(), "Linear", "x");
        Tensor y = tape.empty(x.dtype(), x.rows(), w.out()); // [T, out]
        if (tape.needsOutput()) {
            x.device().kernel(Kernel.class).forward(x, w.tensor(), y);
        }
        return tape.record(y, List.of(x, w.tensor()), new Saved(x, w.tensor()));
    }

    private record Saved(Tensor x, Tensor w) implements Backward {
        @Override
        public void backward(Tensor dy, Gradients gradients) {
            Grad dx = gradients.wanted(x); // [T, in]
            Grad dw = gradients.wanted(w); // [out, in]
            x.device().kernel(Kernel.class).backward(x, w, dy, dx, dw);
        }
    }
}
