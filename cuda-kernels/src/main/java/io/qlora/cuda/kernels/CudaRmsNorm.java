package io.qlora.cuda.kernels;

import io.qlora.cuda.ActivationFunction;
import io.qlora.cuda.Arguments;
import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.KernelArguments;
import io.qlora.cuda.driver.CudaDriver.Shape;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.AddRmsNorm;
import io.qlora.engine.ops.RmsNorm;
import io.qlora.engine.tensor.Tensor;

/** {@link RmsNorm} and {@link AddRmsNorm} by {@code rms_norm.cu}. */
final class CudaRmsNorm implements RmsNorm.Kernel, AddRmsNorm.Kernel {

    private static final int COLUMNS = 64; // of a block of the weight's gradient

    private final CudaDevice device;
    private final ActivationFunction forward;
    private final ActivationFunction backwardX;
    private final ActivationFunction backwardW;

    CudaRmsNorm(CudaDevice device) {
        this.device = device;
        this.forward = new ActivationFunction(device, "rms_norm", "rms_norm_forward");
        this.backwardX = new ActivationFunction(device, "rms_norm", "rms_norm_backward_x");
        this.backwardW = new ActivationFunction(device, "rms_norm", "rms_norm_backward_w");
    }

    /** Of x, or of x + added, which is stored as {@code sum}. */
    private record Forward(Tensor x, Tensor added, Tensor sum, Tensor w, float eps, Tensor y, Tensor r)
            implements KernelArguments {
        @Override
        public void write(Arguments to) {
            to.pointer(x)
                    .pointer(added)
                    .pointer(sum)
                    .pointer(w)
                    .real(eps)
                    .pointer(y)
                    .pointer(r);
            to.integer(x.cols());
        }
    }

    private record BackwardX(Tensor x, Tensor w, Tensor r, Tensor dy, Grad dx) implements KernelArguments {
        @Override
        public void write(Arguments to) {
            to.pointer(x).pointer(w).pointer(r).pointer(dy).gradient(dx).integer(x.cols());
        }
    }

    private record BackwardW(Tensor x, Tensor r, Tensor dy, Grad dw) implements KernelArguments {
        @Override
        public void write(Arguments to) {
            to.pointer(x).pointer(r).pointer(dy).gradient(dw).integer(x.rows()).integer(x.cols());
        }
    }

    @Override
    public void forward(Tensor x, Tensor w, float eps, Tensor y, Tensor r) {
        device.launch(forward.of(x), Launches.rows(x.rows()), new Forward(x, null, null, w, eps, y, r));
    }

    @Override
    public void forward(Tensor x, Tensor y, Tensor w, float eps, Tensor h, Tensor b, Tensor r) {
        device.launch(forward.of(x), Launches.rows(x.rows()), new Forward(x, y, h, w, eps, b, r));
    }

    @Override
    public void backward(Tensor x, Tensor w, Tensor r, Tensor dy, Grad dx, Grad dw) {
        if (dx != null) {
            device.launch(backwardX.of(x), Launches.rows(x.rows()), new BackwardX(x, w, r, dy, dx));
        }
        if (dw != null) {
            Shape columns = Shape.of(Math.ceilDiv(x.cols(), COLUMNS), Launches.THREADS);
            device.launch(backwardW.of(x), columns, new BackwardW(x, r, dy, dw));
        }
    }
}
