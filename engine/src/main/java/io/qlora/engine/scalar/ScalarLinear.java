package io.qlora.engine.scalar;

import static io.qlora.engine.scalar.Floats.add;
import static io.qlora.engine.scalar.Floats.get;
import static io.qlora.engine.scalar.Floats.put;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Linear;
import io.qlora.engine.tensor.Tensor;

/** {@link Linear} as its formula reads, sums in double. */
final class ScalarLinear implements Linear.Kernel {

    @Override
    public void forward(Tensor x, Tensor w, Tensor y) {
        int in = w.cols();
        int out = w.rows();
        for (long t = 0; t < x.rows(); t++) {
            for (int o = 0; o < out; o++) {
                double sum = 0;
                for (int i = 0; i < in; i++) {
                    sum += (double) get(x, t * in + i) * get(w, (long) o * in + i);
                }
                put(y, t * out + o, sum);
            }
        }
    }

    @Override
    public void backward(Tensor x, Tensor w, Tensor dy, Grad dx, Grad dw) {
        if (dx != null) {
            inputGradient(w, dy, dx);
        }
        if (dw != null) {
            weightGradient(x, dy, dw);
        }
    }

    private static void inputGradient(Tensor w, Tensor dy, Grad dx) {
        int in = w.cols();
        int out = w.rows();
        for (long t = 0; t < dy.rows(); t++) {
            for (int i = 0; i < in; i++) {
                double sum = 0;
                for (int o = 0; o < out; o++) {
                    sum += (double) get(dy, t * out + o) * get(w, (long) o * in + i);
                }
                add(dx, t * in + i, sum);
            }
        }
    }

    private static void weightGradient(Tensor x, Tensor dy, Grad dw) {
        int in = x.cols();
        int out = dy.cols();
        for (int o = 0; o < out; o++) {
            for (int i = 0; i < in; i++) {
                double sum = 0;
                for (long t = 0; t < x.rows(); t++) {
                    sum += (double) get(dy, t * out + o) * get(x, t * in + i);
                }
                add(dw, (long) o * in + i, sum);
            }
        }
    }
}
