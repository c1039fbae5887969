package io.qlora.engine.scalar;

import io.qlora.engine.ops.AddRmsNorm;
import io.qlora.engine.tensor.Tensor;

/** {@link AddRmsNorm}, one after the other. */
final class ScalarAddRmsNorm implements AddRmsNorm.Kernel {

    private final ScalarAdd add = new ScalarAdd();
    private final ScalarRmsNorm norm = new ScalarRmsNorm();

    @Override
    public void forward(Tensor x, Tensor y, Tensor w, float eps, Tensor h, Tensor b, Tensor r) {
        add.forward(x, y, h);
        norm.forward(h, w, eps, b, r);
    }
}
