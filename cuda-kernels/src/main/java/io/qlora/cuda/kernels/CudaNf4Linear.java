package io.qlora.cuda.kernels;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.kernels.CudaMatMul.Factor;
import io.qlora.cuda.kernels.CudaMatMul.Form;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.nf4.Nf4Linear;

/** {@link Nf4Linear} by {@link CudaMatMul}. */
final class CudaNf4Linear implements Nf4Linear.Kernel {

    private final CudaMatMul matMul;

    CudaNf4Linear(CudaDevice device) {
        this.matMul = CudaMatMul.of(device);
    }

    @Override
    public void forward(Tensor x, Nf4Weight w, Tensor y) {
        matMul.multiply(Form.NT, Factor.of(x), Factor.of(w), 1, new Grad(y, false));
    }

    @Override
    public void backward(Nf4Weight w, Tensor dy, Grad dx) {
        matMul.multiply(Form.NN, Factor.of(dy), Factor.of(w), 1, dx);
    }
}
