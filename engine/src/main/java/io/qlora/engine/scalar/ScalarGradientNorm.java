package io.qlora.engine.scalar;

import static io.qlora.engine.scalar.Floats.get;
import static io.qlora.engine.scalar.Floats.put;

import io.qlora.engine.optim.GradientNorm;
import io.qlora.engine.tensor.Tensor;
import java.util.List;

/** {@link GradientNorm} element by element. */
final class ScalarGradientNorm implements GradientNorm.Kernel {
    @Override
    public void norm(List<Tensor> tensors, Tensor norm) {
        double sum = 0;
        for (Tensor tensor : tensors) {
            for (long i = 0; i < tensor.size(); i++) {
                double x = get(tensor, i);
                sum += x * x;
            }
        }
        put(norm, 0, Math.sqrt(sum));
    }
}
