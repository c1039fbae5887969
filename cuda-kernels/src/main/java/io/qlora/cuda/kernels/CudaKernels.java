package io.qlora.cuda.kernels;

import io.qlora.cuda.CudaDevice;
import io.qlora.engine.ops.Add;
import io.qlora.engine.ops.Dropout;
import io.qlora.engine.ops.Embedding;
import io.qlora.engine.ops.LinearCrossEntropy;
import io.qlora.engine.ops.RmsNorm;
import io.qlora.engine.ops.Rope;
import io.qlora.engine.ops.SwiGlu;
import io.qlora.engine.optim.AdamW;
import io.qlora.engine.optim.GradientNorm;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.KernelProvider;
import java.util.Map;

/** The kernels of all modules, for cards. */
public final class CudaKernels implements KernelProvider {

    /** For {@link java.util.ServiceLoader}. */
    public CudaKernels() {}

    @Override
    public Map<Class<?>, Object> kernels(Device device) {
        if (!(device instanceof CudaDevice cuda)) {
            return Map.of();
        }
        return Map.ofEntries(
                Map.entry(Add.Kernel.class, new CudaAdd(cuda)),
                Map.entry(Dropout.Kernel.class, new CudaDropout(cuda)),
                Map.entry(Embedding.Kernel.class, new CudaEmbedding(cuda)),
                Map.entry(LinearCrossEntropy.Kernel.class, new CudaLinearCrossEntropy(cuda)),
                Map.entry(RmsNorm.Kernel.class, new CudaRmsNorm(cuda)),
                Map.entry(Rope.Kernel.class, new CudaRope(cuda)),
                Map.entry(SwiGlu.Kernel.class, new CudaSwiGlu(cuda)),
                Map.entry(AdamW.Kernel.class, new CudaAdamW(cuda)),
                Map.entry(GradientNorm.Kernel.class, new CudaGradientNorm(cuda)));
    }
}
