package io.qlora.cuda.kernels;

import io.qlora.cuda.ActivationFunction;
import io.qlora.cuda.Arguments;
import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.KernelArguments;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Cast;
import io.qlora.engine.tensor.Tensor;

/** {@link Cast} by {@code cast.cu}, to float32 or bfloat16. */
final class CudaCast implements Cast.Kernel {

    private final CudaDevice device;
    private final ActivationFunction cast;

    CudaCast(CudaDevice device) {
        this.device = device;
        this.cast = new ActivationFunction(device, "cast", "cast_to");
    }

    private record Conversion(Tensor from, Grad to) implements KernelArguments {
        @Override
        public void write(Arguments arguments) {
            arguments.pointer(from).integer(from.dtype().ordinal());
            arguments.gradient(to).longInteger(from.size());
        }
    }

    @Override
    public void forward(Tensor x, Tensor y) {
        backward(x, new Grad(y, false));
    }

    @Override
    public void backward(Tensor dy, Grad dx) {
        device.launch(cast.of(dx.tensor()), Launches.eights(dy.size()), new Conversion(dy, dx));
    }
}
