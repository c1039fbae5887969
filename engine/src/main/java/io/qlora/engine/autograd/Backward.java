package io.qlora.engine.autograd;

import io.qlora.engine.tensor.Tensor;
import java.util.List;

/**
 * The way back through an op of one output. Implemented by the record of what the op saved, so that its bytes can be
 * named.
 */
@FunctionalInterface
public interface Backward {

    /**
     * Leaves the gradients of the op's inputs in {@code gradients}.
     *
     * @param dy the gradient of the op's output, of its shape; read only
     */
    void backward(Tensor dy, Gradients gradients);

    /** The way back through an op of several outputs. */
    @FunctionalInterface
    interface Joint {

        /**
         * Leaves the gradients of the op's inputs in {@code gradients}.
         *
         * @param dys the gradients of the outputs in their order; null for one that nothing depended on
         */
        void backward(List<Tensor> dys, Gradients gradients);
    }
}
