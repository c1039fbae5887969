package io.qlora.cuda.kernels;

import io.qlora.cuda.ActivationFunction;
import io.qlora.cuda.Arguments;
import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.KernelArguments;
import io.qlora.cuda.driver.CudaDriver.Shape;
import io.qlora.cuda.kernels.CudaMatMul.Factor;
import io.qlora.cuda.kernels.CudaMatMul.Form;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.nf4.Nf4Linear;

/** {@link Nf4Linear} by {@code nf4.cu} for a few rows, which are bound by memory, and {@code matmul.cu} for many. */
final class CudaNf4Linear implements Nf4Linear.Kernel {

    private static final int FEW = 4; // rows
    private static final int COLUMNS = 8; // of y, a block
    private static final int EIGHT = 8; // inputs read at once

    private final CudaDevice device;
    private final CudaMatMul matMul;
    private final ActivationFunction rows;

    CudaNf4Linear(CudaDevice device) {
        this.device = device;
        this.matMul = new CudaMatMul(device);
        this.rows = new ActivationFunction(device, "nf4", "nf4_rows");
    }

    private record Rows(Tensor x, Nf4Weight w, Tensor y) implements KernelArguments {
        @Override
        public void write(Arguments to) {
            to.pointer(x).pointer(w.codes());
            Nf4Arguments.scales(to, w);
            to.pointer(y).integer(x.length()).integer(w.in()).integer(w.out());
        }
    }

    @Override
    public void forward(Tensor x, Nf4Weight w, Tensor y) {
        if (x.length() <= FEW && w.in() % EIGHT == 0) {
            Shape columns = Shape.of(Math.ceilDiv(w.out(), COLUMNS), Launches.THREADS);
            device.launch(rows.of(x), columns, new Rows(x, w, y));
        } else {
            matMul.multiply(Form.NT, Factor.of(x), Factor.of(w), 1, new Grad(y, false));
        }
    }

    @Override
    public void backward(Nf4Weight w, Tensor dy, Grad dx) {
        matMul.multiply(Form.NN, Factor.of(dy), Factor.of(w), 1, dx);
    }
}
