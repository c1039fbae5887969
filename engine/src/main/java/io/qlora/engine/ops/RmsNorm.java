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
 * Root-mean-square normalisation over the last dimension.
 *
 * <pre>
 *   r[t]    = 1 / sqrt(mean_c x[t,c]² + eps)
 *   y[t,c]  = x[t,c] · r[t] · w[c]
 *   dx[t,c] = r[t] · (w[c]·dy[t,c] − x[t,c] · r[t]² · mean_c(x[t,c]·w[c]·dy[t,c]))
 *   dw[c]   = sum_t dy[t,c] · x[t,c] · r[t]          only when w is trainable
 * </pre>
 *
 * Saves x and r, 4·T·(C+1) bytes in float32.
 */
public final class RmsNorm {

    private RmsNorm() {}

    /** What a backend provides. Shapes: x, y, dy, dx [T, C], of activations; w, dw [C] and r [T], always
     * float32. */
    public interface Kernel {
        void forward(Tensor x, Tensor w, float eps, Tensor y, Tensor r);

        /** Either of {@code dx}, {@code dw} is null when not wanted. */
        void backward(Tensor x, Tensor w, Tensor r, Tensor dy, Grad dx, Grad dw);
    }

    /**
     * Normalises each row.
     *
     * @param x [T, C]
     * @param w [C], F32
     * @param eps added to the mean square
     * @return [T, C]
     */
    public static Tensor apply(Tape tape, Tensor x, Tensor w, float eps) {
        Shapes.activation(x, -1, -1, "RmsNorm", "x");
        Shapes.require(w, DType.F32, Shape.of(x.cols()), "RmsNorm", "w");
        Tensor y = tape.like(x); // [T, C]
        Tensor r = tape.empty(DType.F32, x.rows()); // [T]
        x.device().kernel(Kernel.class).forward(x, w, eps, y, r);
        return record(tape, x, w, y, r);
    }

    static Tensor record(Tape tape, Tensor x, Tensor w, Tensor y, Tensor r) {
        return tape.record(y, List.of(x, w), new Saved(x, w, r));
    }

    private record Saved(Tensor x, Tensor w, Tensor r) implements Backward {
        @Override
        public void backward(Tensor dy, Gradients gradients) {
            Grad dx = gradients.wanted(x); // [T, C]
            Grad dw = gradients.wanted(w); // [C]
            x.device().kernel(Kernel.class).backward(x, w, r, dy, dx, dw);
        }
    }
}
