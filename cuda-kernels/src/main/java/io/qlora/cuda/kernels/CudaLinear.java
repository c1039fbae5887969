package io.qlora.cuda.kernels;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.kernels.CudaMatMul.Factor;
import io.qlora.cuda.kernels.CudaMatMul.Form;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Linear;
import io.qlora.engine.tensor.Tensor;

/** {@link Linear} by {@link CudaMatMul}. */
final class CudaLinear implements Linear.Kernel {

    private final CudaMatMul matMul;

    CudaLinear(CudaDevice device) {
        this.matMul = CudaMatMul.of(device);
    }

    @Override
    public void forward(Tensor x, Tensor w, Tensor y) {
        matMul.multiply(Form.NT, Factor.of(x), Factor.of(w), 1, new Grad(y, false));
    }

    @Override
    public void backward(Tensor x, Tensor w, Tensor dy, Grad dx, Grad dw) {
        if (dx != null) {
            matMul.multiply(Form.NN, Factor.of(dy), Factor.of(w), 1, dx);
        }
        if (dw != null) {
            matMul.multiply(Form.TN, Factor.of(dy), Factor.of(x), 1, dw);
        }
    }
}
