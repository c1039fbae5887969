package io.qlora.cuda.kernels;

import io.qlora.cuda.ActivationFunction;
import io.qlora.cuda.Arguments;
import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.KernelArguments;
import io.qlora.cuda.driver.CudaDriver.Shape;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Dropout;
import io.qlora.engine.ops.Philox;
import io.qlora.engine.tensor.Tensor;

/** {@link Dropout} by {@code dropout.cu}: forward and backward are the same. */
final class CudaDropout implements Dropout.Kernel {

    private static final int COLUMNS = 4; // a thread

    private final CudaDevice device;
    private final ActivationFunction dropout;

    CudaDropout(CudaDevice device) {
        this.device = device;
        this.dropout = new ActivationFunction(device, "dropout", "dropout");
    }

    private record Drop(Tensor x, Grad y, Dropout.Mask mask, Tensor documents, Tensor positions)
            implements KernelArguments {
        @Override
        public void write(Arguments to) {
            Philox.Key key = mask.key();
            to.pointer(x).gradient(y).pointer(documents).pointer(positions);
            to.integer(x.cols());
            to.integer(key.word0()).integer(key.word1()).integer(mask.site());
            to.integer(mask.threshold()).real(mask.scale());
        }
    }

    @Override
    public void forward(Tensor x, Dropout.Mask mask, Tensor documents, Tensor positions, Tensor y) {
        drop(x, new Grad(y, false), mask, documents, positions);
    }

    @Override
    public void backward(Tensor dy, Dropout.Mask mask, Tensor documents, Tensor positions, Grad dx) {
        drop(dy, dx, mask, documents, positions);
    }

    private void drop(Tensor x, Grad y, Dropout.Mask mask, Tensor documents, Tensor positions) {
        int blocks = Math.ceilDiv(x.cols(), COLUMNS * Launches.THREADS); // of a row
        Shape shape = new Shape(x.rows(), blocks, 1, Launches.THREADS, 0);
        device.launch(dropout.of(x), shape, new Drop(x, y, mask, documents, positions));
    }
}
