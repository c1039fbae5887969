package io.qlora.nf4;

import io.qlora.engine.autograd.Backward;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.autograd.Gradients;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;
import java.util.List;

/**
 * A linear layer without bias, of a frozen weight in 4-bit NormalFloat: W' is what the codes decode to.
 *
 * <pre>
 *   y  = x · W'ᵀ
 *   dx = dy · W'
 * </pre>
 *
 * W' is decoded inside the product and never whole in memory. It has no gradient, and so nothing is saved.
 */
public final class Nf4Linear {

    private Nf4Linear() {}

    /** What a backend provides. Shapes: x, dx [T, in]; w [out, in]; y, dy [T, out]; all of activations. */
    public interface Kernel {
        void forward(Tensor x, Nf4Weight w, Tensor y);

        void backward(Nf4Weight w, Tensor dy, Grad dx);
    }

    /**
     * The layer's output.
     *
     * @param x [T, in]
     * @param w [out, in]
     * @return [T, out]
     */
    public static Tensor apply(Tape tape, Tensor x, Nf4Weight w) {
        Shapes.activation(x, -1, w.in(), "Nf4Linear", "x");
        Tensor y = tape.empty(x.dtype(), x.rows(), w.out()); // [T, out]
        if (tape.needsOutput()) {
            x.device().kernel(Kernel.class).forward(x, w, y);
        }
        return tape.record(y, List.of(x), new Saved(x, w));
    }

    /** x is kept as the one whose gradient is wanted; its elements are not. */
    private record Saved(Tensor x, Nf4Weight w) implements Backward {
        @Override
        public void backward(Tensor dy, Gradients gradients) {
            Grad dx = gradients.wanted(x); // [T, in]
            if (dx != null) {
                x.device().kernel(Kernel.class).backward(w, dy, dx);
            }
        }
    }
}
