package io.qlora.engine.scalar;

import static io.qlora.engine.scalar.Floats.add;
import static io.qlora.engine.scalar.Floats.get;
import static io.qlora.engine.scalar.Floats.put;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.SwiGlu;
import io.qlora.engine.tensor.Tensor;

/** {@link SwiGlu} as its formula reads, in double. */
final class ScalarSwiGlu implements SwiGlu.Kernel {

    @Override
    public void forward(Tensor gate, Tensor up, Tensor y) {
        for (long i = 0; i < y.size(); i++) {
            double g = get(gate, i);
            put(y, i, g * sigmoid(g) * get(up, i));
        }
    }

    @Override
    public void backward(Tensor gate, Tensor up, Tensor dy, Grad dgate, Grad dup) {
        for (long i = 0; i < dy.size(); i++) {
            double g = get(gate, i);
            double s = sigmoid(g);
            if (dgate != null) {
                add(dgate, i, get(dy, i) * get(up, i) * s * (1 + g * (1 - s)));
            }
            if (dup != null) {
                add(dup, i, get(dy, i) * g * s);
            }
        }
    }

    private static double sigmoid(double x) {
        return 1 / (1 + StrictMath.exp(-x));
    }
}
