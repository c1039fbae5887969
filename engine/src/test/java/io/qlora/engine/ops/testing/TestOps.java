package io.qlora.engine.ops.testing;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.ops.Cast;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.util.List;

/** What surrounds the op under test on the tape. */
final class TestOps {

    private TestOps() {}

    /** A copy, in the type in which the device keeps activations: turns a leaf into one. */
    static Tensor activation(Tape tape, Tensor x) {
        if (x.dtype() != x.device().activations()) {
            return Cast.apply(tape, x, x.device().activations());
        }
        Tensor y = tape.like(x);
        x.device().copy(x, y);
        return tape.record(y, List.of(x), (dy, gradients) -> gradients.pass(x, dy));
    }

    /**
     * Zero, with {@code dx} as the gradient of x whatever its own gradient is: recorded after the op under test, it is
     * walked back before it.
     */
    static Tensor contribute(Tape tape, Tensor x, float[] dx) {
        Tensor y = tape.empty(DType.F32, 1).set(0f);
        return tape.record(y, List.of(x), (dy, gradients) -> {
            Grad grad = gradients.wanted(x);
            if (grad != null) {
                OpRun.put(grad, dx);
            }
        });
    }

    /** A loss, left zero: only its gradients matter, the weights. */
    static Tensor weightedSum(Tape tape, List<Tensor> terms, List<float[]> weights) {
        Tensor loss = tape.empty(DType.F32, 1).set(0f);
        return tape.record(loss, terms, (dLoss, gradients) -> {
            for (int i = 0; i < terms.size(); i++) {
                Grad grad = gradients.wanted(terms.get(i));
                if (grad != null) {
                    OpRun.put(grad, weights.get(i));
                }
            }
        });
    }
}
