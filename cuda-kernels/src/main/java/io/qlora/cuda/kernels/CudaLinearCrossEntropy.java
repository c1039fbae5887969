package io.qlora.cuda.kernels;

import io.qlora.cuda.ActivationFunction;
import io.qlora.cuda.Arguments;
import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.CudaFunction;
import io.qlora.cuda.KernelArguments;
import io.qlora.cuda.driver.CudaDriver.Shape;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.LinearCrossEntropy;
import io.qlora.engine.tensor.Tensor;

/**
 * {@link LinearCrossEntropy} by {@code cross_entropy.cu} and {@code embedding.cu}. A target that is no token gives NaN:
 * nobody waits to tell.
 */
final class CudaLinearCrossEntropy implements LinearCrossEntropy.Kernel {

    private static final int NLL_THREADS = 1024;

    private final CudaDevice device;
    private final ActivationFunction nll;
    private final ActivationFunction scatter;
    private final CudaFunction sum;
    private final CudaFunction scale;

    CudaLinearCrossEntropy(CudaDevice device) {
        this.device = device;
        this.nll = new ActivationFunction(device, "cross_entropy", "cross_entropy_nll");
        this.scatter = new ActivationFunction(device, "embedding", "scatter_rows");
        this.sum = device.function("cross_entropy", "cross_entropy_sum");
        this.scale = device.function("cross_entropy", "cross_entropy_scale");
    }

    private record Nll(Tensor logits, Tensor targets, float scale, boolean gradient, Tensor nll)
            implements KernelArguments {
        @Override
        public void write(Arguments to) {
            to.pointer(logits)
                    .pointer(targets)
                    .real(scale)
                    .integer(gradient ? 1 : 0)
                    .pointer(nll);
            to.integer(logits.cols());
        }
    }

    private record Sum(Tensor nll, float scale, Tensor loss) implements KernelArguments {
        @Override
        public void write(Arguments to) {
            to.pointer(nll).integer(Math.toIntExact(nll.size())).real(scale).pointer(loss);
        }
    }

    private record Scatter(Tensor gathered, Tensor rows, Tensor dloss, Grad dx) implements KernelArguments {
        @Override
        public void write(Arguments to) {
            to.pointer(rows).pointer(gathered).pointer(dloss).gradient(dx);
            to.integer(Math.toIntExact(rows.size())).integer(dx.tensor().cols());
        }
    }

    private record Scale(Tensor saved, Tensor dloss, Grad dhead) implements KernelArguments {
        @Override
        public void write(Arguments to) {
            to.pointer(saved).pointer(dloss).gradient(dhead).longInteger(saved.size());
        }
    }

    @Override
    public void nll(Tensor logits, Tensor targets, float scale, boolean gradient, Tensor losses) {
        Nll arguments = new Nll(logits, targets, scale, gradient, losses);
        Shape rows = Shape.of(Math.toIntExact(targets.size()), NLL_THREADS);
        device.launch(nll.of(logits), rows, arguments);
    }

    @Override
    public void sum(Tensor losses, float factor, Tensor loss) {
        device.launch(sum, Launches.rows(1), new Sum(losses, factor, loss));
    }

    @Override
    public void scatter(Tensor gathered, Tensor rows, Tensor dloss, Grad dx) {
        long targets = dx.tensor().rows();
        device.launch(scatter.of(dx.tensor()), Launches.rows(targets), new Scatter(gathered, rows, dloss, dx));
    }

    @Override
    public void scale(Tensor saved, Tensor dloss, Grad dhead) {
        device.launch(scale, Launches.eights(saved.size()), new Scale(saved, dloss, dhead));
    }
}
