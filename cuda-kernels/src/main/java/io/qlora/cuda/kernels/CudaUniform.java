package io.qlora.cuda.kernels;

import io.qlora.cuda.ActivationFunction;
import io.qlora.cuda.Arguments;
import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.KernelArguments;
import io.qlora.engine.ops.Philox;
import io.qlora.engine.ops.Uniform;
import io.qlora.engine.tensor.Tensor;

/** {@link Uniform} by {@code uniform.cu}: the same bits as on the CPU. */
final class CudaUniform implements Uniform.Kernel {

    private static final int ELEMENTS = 4; // a thread

    private final CudaDevice device;
    private final ActivationFunction uniform;

    CudaUniform(CudaDevice device) {
        this.device = device;
        this.uniform = new ActivationFunction(device, "uniform", "uniform");
    }

    private record Fill(Tensor x, float bound, Philox.Key key, int stream) implements KernelArguments {
        @Override
        public void write(Arguments to) {
            to.pointer(x).longInteger(x.size()).integer(stream).integer(Uniform.DOMAIN);
            to.integer(key.word0()).integer(key.word1()).real(bound);
        }
    }

    @Override
    public void fill(Tensor x, float bound, Philox.Key key, int stream) {
        device.launch(
                uniform.of(x), Launches.threads(Math.ceilDiv(x.size(), ELEMENTS)), new Fill(x, bound, key, stream));
    }
}
