package io.qlora.cuda.kernels;

import io.qlora.cuda.CudaDevice;
import io.qlora.engine.ops.Add;
import io.qlora.engine.ops.AddRmsNorm;
import io.qlora.engine.ops.Attention;
import io.qlora.engine.ops.CachedAttention;
import io.qlora.engine.ops.Cast;
import io.qlora.engine.ops.Dropout;
import io.qlora.engine.ops.Embedding;
import io.qlora.engine.ops.Linear;
import io.qlora.engine.ops.LinearCrossEntropy;
import io.qlora.engine.ops.RmsNorm;
import io.qlora.engine.ops.Rope;
import io.qlora.engine.ops.SwiGlu;
import io.qlora.engine.ops.Uniform;
import io.qlora.engine.optim.AdamW;
import io.qlora.engine.optim.GradientNorm;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.KernelProvider;
import io.qlora.lora.LoraLinear;
import io.qlora.nf4.Nf4;
import io.qlora.nf4.Nf4Linear;
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
        CudaAttention attention = new CudaAttention(cuda);
        CudaRmsNorm norm = new CudaRmsNorm(cuda);
        return Map.ofEntries(
                Map.entry(Add.Kernel.class, new CudaAdd(cuda)),
                Map.entry(AddRmsNorm.Kernel.class, norm),
                Map.entry(Attention.Kernel.class, attention),
                Map.entry(CachedAttention.Kernel.class, attention),
                Map.entry(Cast.Kernel.class, new CudaCast(cuda)),
                Map.entry(Dropout.Kernel.class, new CudaDropout(cuda)),
                Map.entry(Embedding.Kernel.class, new CudaEmbedding(cuda)),
                Map.entry(Linear.Kernel.class, new CudaLinear(cuda)),
                Map.entry(LinearCrossEntropy.Kernel.class, new CudaLinearCrossEntropy(cuda)),
                Map.entry(RmsNorm.Kernel.class, norm),
                Map.entry(Rope.Kernel.class, new CudaRope(cuda)),
                Map.entry(SwiGlu.Kernel.class, new CudaSwiGlu(cuda)),
                Map.entry(Uniform.Kernel.class, new CudaUniform(cuda)),
                Map.entry(Nf4.Codec.class, new CudaNf4Codec(cuda)),
                Map.entry(Nf4Linear.Kernel.class, new CudaNf4Linear(cuda)),
                Map.entry(LoraLinear.Kernel.class, new CudaLoraLinear(cuda)),
                Map.entry(AdamW.Kernel.class, new CudaAdamW(cuda)),
                Map.entry(GradientNorm.Kernel.class, new CudaGradientNorm(cuda)));
    }
}
