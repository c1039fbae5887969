package io.qlora.cuda.kernels;

import io.qlora.cuda.ActivationFunction;
import io.qlora.cuda.Arguments;
import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.KernelArguments;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;

/** Conversions between floating-point types by {@code cast.cu}. */
public final class CudaCast {

    private final CudaDevice device;
    private final ActivationFunction cast;

    public CudaCast(CudaDevice device) {
        this.device = device;
        this.cast = new ActivationFunction(device, "cast", "cast_to");
    }

    private record Cast(Tensor from, Tensor to) implements KernelArguments {
        @Override
        public void write(Arguments arguments) {
            arguments.pointer(from).integer(from.dtype().ordinal()).pointer(to).longInteger(to.size());
        }
    }

    /**
     * Rounds to nearest, ties to even.
     *
     * @param from F32, F16 or BF16
     * @param to F32 or BF16, of as many elements
     */
    public void cast(Tensor from, Tensor to) {
        Shapes.require(from.dtype().isFloat(), "cast", "from", from, "F32, F16 or BF16");
        Shapes.require(from.size() == to.size(), "cast", "to", to, "of " + from.size() + " elements");
        device.launch(cast.of(to), Launches.eights(to.size()), new Cast(from, to));
    }
}
