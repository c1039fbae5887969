package io.qlora.cuda.kernels;

import io.qlora.cuda.ActivationFunction;
import io.qlora.cuda.Arguments;
import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.KernelArguments;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Embedding;
import io.qlora.engine.tensor.Tensor;

/** {@link Embedding} by {@code embedding.cu}. An id that is not in the table gives a row of NaN: nobody waits to tell. */
final class CudaEmbedding implements Embedding.Kernel {

    private final CudaDevice device;
    private final ActivationFunction forward;
    private final ActivationFunction backward;

    CudaEmbedding(CudaDevice device) {
        this.device = device;
        this.forward = new ActivationFunction(device, "embedding", "embedding_forward");
        this.backward = new ActivationFunction(device, "embedding", "embedding_backward");
    }

    private record Forward(Tensor ids, Tensor table, Tensor y) implements KernelArguments {
        @Override
        public void write(Arguments to) {
            to.pointer(ids).pointer(table).integer(table.dtype().ordinal()).pointer(y);
            to.integer(y.cols()).integer(table.rows());
        }
    }

    private record Backward(Tensor ids, Tensor dy, Grad dtable) implements KernelArguments {
        @Override
        public void write(Arguments to) {
            to.pointer(ids).pointer(dy).gradient(dtable).integer(dy.rows()).integer(dy.cols());
        }
    }

    @Override
    public void forward(Tensor ids, Tensor table, Tensor y) {
        device.launch(forward.of(y), Launches.rows(ids.size()), new Forward(ids, table, y));
    }

    @Override
    public void backward(Tensor ids, Tensor dy, Grad dtable) {
        long rows = dtable.tensor().rows();
        device.launch(backward.of(dy), Launches.rows(rows), new Backward(ids, dy, dtable));
    }
}
