package io.qlora.engine.optim;

import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.memory.BumpPool;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import java.util.List;

/**
 * The length of the gradient as a whole, and the factor that bounds it.
 *
 * <pre>
 *   norm = sqrt(sum over all parameters' gradients of dp²)
 *   clip = min(1, max / (norm + 1e-6))                        as torch.nn.utils.clip_grad_norm_
 * </pre>
 *
 * The optimizer multiplies by the factor while it reads the gradients: no pass of its own.
 */
public final class GradientNorm {

    private static final float EPSILON = 1e-6f;

    private GradientNorm() {}

    /** What a backend provides. */
    public interface Kernel {

        /**
         * The square root of the sum of all squares, in an order that depends on nothing but the shapes, and without
         * overflow where the result itself fits.
         *
         * @param tensors F32, any shapes
         * @param norm F32 [1]
         */
        void norm(List<Tensor> tensors, Tensor norm);
    }

    /**
     * The L2 norm of all gradients together; waits for it.
     *
     * @param memory for the one number
     */
    public static float of(Parameters parameters, StepMemory memory) {
        BumpPool pool = memory.activations();
        BumpPool.Mark mark = pool.mark();
        try {
            Tensor norm = pool.empty(DType.F32, Shape.of(1));
            of(parameters, norm);
            return norm.item();
        } finally {
            pool.release(mark);
        }
    }

    /**
     * The L2 norm of all gradients together, left on the device.
     *
     * @param norm F32 [1], written
     */
    public static void of(Parameters parameters, Tensor norm) {
        List<Tensor> gradients =
                parameters.list().stream().map(Parameter::gradient).toList();
        norm.device().kernel(Kernel.class).norm(gradients, norm);
    }

    /**
     * What to multiply gradients of this norm by, so that it is at most {@code max}; NaN when the norm is.
     *
     * @param max the bound; infinity for none
     */
    public static float clip(float norm, float max) {
        return Math.min(1f, max / (norm + EPSILON));
    }
}
