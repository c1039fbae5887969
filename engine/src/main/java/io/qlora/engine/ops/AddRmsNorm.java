package io.qlora.engine.ops;

import io.qlora.engine.autograd.Tape;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;

/**
 * {@link Add} and then {@link RmsNorm} in one pass over memory, the residual connection in front of a norm.
 *
 * <pre>
 *   h = x + y        b[t,c] = h[t,c] · r[t] · w[c]        r[t] = 1 / sqrt(mean_c h[t,c]² + eps)
 * </pre>
 *
 * The bits are those of the two ops. So is the way back, which is one pass as it is: the norm's kernel adds to the gradient
 * that h has from elsewhere, and that is passed on to x and y, not copied. Saves h and r, 4·T·(C+1) bytes in float32.
 */
public final class AddRmsNorm {

    private AddRmsNorm() {}

    /** What a backend provides. Shapes: x, y, h, b [T, C], where h may be x or y; w [C]; r [T], always float32. */
    public interface Kernel {
        void forward(Tensor x, Tensor y, Tensor w, float eps, Tensor h, Tensor b, Tensor r);
    }

    /**
     * Both results.
     *
     * @param sum h [T, C]
     * @param normalised b [T, C]
     */
    public record Result(Tensor sum, Tensor normalised) {}

    /**
     * Adds and normalises each row.
     *
     * @param x [T, C]
     * @param y [T, C], of {@code x}'s type; consumed as by {@link Add#inPlace}: the sum is written over it
     * @param w [C], F32
     * @param eps added to the mean square
     */
    public static Result apply(Tape tape, Tensor x, Tensor y, Tensor w, float eps) {
        Shapes.activation(x, -1, -1, "AddRmsNorm", "x");
        Shapes.require(y, x.dtype(), x.shape(), "AddRmsNorm", "y");
        Shapes.require(w, DType.F32, Shape.of(x.cols()), "AddRmsNorm", "w");
        Tensor h = y.alias(); // [T, C]
        Tensor b = tape.like(x); // [T, C]
        Tensor r = tape.empty(DType.F32, x.rows()); // [T]
        x.device().kernel(Kernel.class).forward(x, y, w, eps, h, b, r);
        Add.record(tape, x, y, h);
        return new Result(h, RmsNorm.record(tape, h, w, b, r));
    }
}
