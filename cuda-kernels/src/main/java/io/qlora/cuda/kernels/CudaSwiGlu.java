package io.qlora.cuda.kernels;

import io.qlora.cuda.ActivationFunction;
import io.qlora.cuda.Arguments;
import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.KernelArguments;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.SwiGlu;
import io.qlora.engine.tensor.Tensor;

/** {@link SwiGlu} by {@code swi_glu.cu}. */
final class CudaSwiGlu implements SwiGlu.Kernel {

    private final CudaDevice device;
    private final ActivationFunction forward;
    private final ActivationFunction backward;

    CudaSwiGlu(CudaDevice device) {
        this.device = device;
        this.forward = new ActivationFunction(device, "swi_glu", "swi_glu_forward");
        this.backward = new ActivationFunction(device, "swi_glu", "swi_glu_backward");
    }

    private record Forward(Tensor gate, Tensor up, Tensor y) implements KernelArguments {
        @Override
        public void write(Arguments to) {
            to.pointer(gate).pointer(up).pointer(y).longInteger(y.size());
        }
    }

    private record Backward(Tensor gate, Tensor up, Tensor dy, Grad dgate, Grad dup) implements KernelArguments {
        @Override
        public void write(Arguments to) {
            to.pointer(gate)
                    .pointer(up)
                    .pointer(dy)
                    .gradient(dgate)
                    .gradient(dup)
                    .longInteger(dy.size());
        }
    }

    @Override
    public void forward(Tensor gate, Tensor up, Tensor y) {
        device.launch(forward.of(gate), Launches.eights(y.size()), new Forward(gate, up, y));
    }

    @Override
    public void backward(Tensor gate, Tensor up, Tensor dy, Grad dgate, Grad dup) {
        device.launch(backward.of(gate), Launches.eights(dy.size()), new Backward(gate, up, dy, dgate, dup));
    }
}
