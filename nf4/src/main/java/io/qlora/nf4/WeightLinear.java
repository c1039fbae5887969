package io.qlora.nf4;

import io.qlora.engine.autograd.Tape;
import io.qlora.engine.ops.Linear;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;

/** A linear layer without bias, of a weight of any kind: {@link Linear} or {@link Nf4Linear}. */
public final class WeightLinear {

    private WeightLinear() {}

    /**
     * The layer's output, {@code x · Wᵀ}.
     *
     * @param x [T, in]
     * @param w [out, in]
     * @return [T, out]
     */
    public static Tensor apply(Tape tape, Tensor x, Weight w) {
        return switch (w) {
            case DenseWeight dense -> Linear.apply(tape, x, dense);
            case Nf4Weight nf4 -> Nf4Linear.apply(tape, x, nf4);
        };
    }
}
