package io.qlora.cuda.kernels;

import io.qlora.cuda.ActivationFunction;
import io.qlora.cuda.Arguments;
import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.KernelArguments;
import io.qlora.engine.ops.Add;
import io.qlora.engine.tensor.Tensor;

/** {@link Add} by {@code add.cu}. */
final class CudaAdd implements Add.Kernel {

    private final CudaDevice device;
    private final ActivationFunction forward;

    CudaAdd(CudaDevice device) {
        this.device = device;
        this.forward = new ActivationFunction(device, "add", "add_forward");
    }

    private record Forward(Tensor x, Tensor y, Tensor z) implements KernelArguments {
        @Override
        public void write(Arguments to) {
            to.pointer(x).pointer(y).pointer(z).longInteger(x.size());
        }
    }

    @Override
    public void forward(Tensor x, Tensor y, Tensor z) {
        device.launch(forward.of(x), Launches.eights(x.size()), new Forward(x, y, z));
    }
}
