package io.qlora.engine.nn;

import io.qlora.engine.autograd.Tape;
import io.qlora.engine.ops.Sequences;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;

/** What stands in for a linear layer while it is attached: the base and what is added to it. */
@FunctionalInterface
public interface LinearAdapter {

    /**
     * The layer's output.
     *
     * @param x [T, in]
     * @param base [out, in], frozen
     * @param sequences which document each row belongs to
     * @param step what randomness is keyed by; null in evaluation, when there is none
     * @return [T, out]
     */
    Tensor apply(Tape tape, Tensor x, Weight base, Sequences sequences, StepKey step);
}
