package io.qlora.engine.scalar;

import static io.qlora.engine.scalar.Floats.get;
import static io.qlora.engine.scalar.Floats.round;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Cast;
import io.qlora.engine.tensor.Tensor;

/** {@link Cast} element by element: for devices with vectors, too, since it is not part of their steps. */
public final class ScalarCast implements Cast.Kernel {

    /** For a device of any kind that is a processor. */
    public ScalarCast() {}

    @Override
    public void forward(Tensor x, Tensor y) {
        convert(x, new Grad(y, false));
    }

    @Override
    public void backward(Tensor dy, Grad dx) {
        convert(dy, dx);
    }

    private static void convert(Tensor from, Grad to) {
        for (long i = 0; i < from.size(); i++) {
            float there = to.accumulate() ? get(to.tensor(), i) : 0;
            round(to.tensor(), i, to.accumulate() ? there + get(from, i) : get(from, i));
        }
    }
}
