package io.qlora.engine.ops;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;
import java.util.List;

/**
 * The same numbers in another floating-point type, rounded to nearest, ties to even.
 *
 * <pre>
 *   y  = x, rounded to the type of y
 *   dx = dy, rounded to the type of x
 * </pre>
 *
 * Saves nothing.
 */
public final class Cast {

    private Cast() {}

    /** What a backend provides. Shapes: all the same; any of F32, F16, BF16, but a card writes no F16. */
    public interface Kernel {
        void forward(Tensor x, Tensor y);

        void backward(Tensor dy, Grad dx);
    }

    /**
     * Converts; returns {@code x} itself where there is nothing to convert.
     *
     * @param x floating-point, any shape
     * @param dtype floating-point
     * @return of {@code x}'s shape
     */
    public static Tensor apply(Tape tape, Tensor x, DType dtype) {
        Shapes.require(x.dtype().isFloat(), "Cast", "x", x, "F32, F16 or BF16");
        Shapes.require(dtype.isFloat(), "Cast", "dtype", dtype, "F32, F16 or BF16");
        if (x.dtype() == dtype) {
            return x;
        }
        Tensor y = tape.empty(dtype, x.shape().dims());
        x.device().kernel(Kernel.class).forward(x, y);
        return tape.record(y, List.of(x), (dy, gradients) -> {
            Grad dx = gradients.wanted(x);
            x.device().kernel(Kernel.class).backward(dy, dx);
        });
    }
}
