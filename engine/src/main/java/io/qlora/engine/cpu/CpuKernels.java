package io.qlora.engine.cpu;

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
import io.qlora.engine.scalar.ScalarCast;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.KernelProvider;
import java.util.Map;

/** The engine's kernels in vectors. */
public final class CpuKernels implements KernelProvider {

    /** For {@link java.util.ServiceLoader}. */
    public CpuKernels() {}

    @Override
    public Map<Class<?>, Object> kernels(Device device) {
        if (!(device instanceof CpuDevice cpu) || !cpu.vectors()) {
            return Map.of();
        }
        Workers workers = cpu.workers();
        return Map.ofEntries(
                Map.entry(Add.Kernel.class, new CpuAdd(workers)),
                Map.entry(AddRmsNorm.Kernel.class, new CpuAddRmsNorm(workers)),
                Map.entry(Attention.Kernel.class, new CpuAttention(workers)),
                Map.entry(CachedAttention.Kernel.class, new CpuCachedAttention(workers)),
                Map.entry(Cast.Kernel.class, new ScalarCast()),
                Map.entry(Embedding.Kernel.class, new CpuEmbedding(workers)),
                Map.entry(Linear.Kernel.class, new CpuLinear(workers)),
                Map.entry(LinearCrossEntropy.Kernel.class, new CpuLinearCrossEntropy(workers)),
                Map.entry(RmsNorm.Kernel.class, new CpuRmsNorm(workers)),
                Map.entry(Rope.Kernel.class, new CpuRope(workers)),
                Map.entry(SwiGlu.Kernel.class, new CpuSwiGlu(workers)),
                Map.entry(Uniform.Kernel.class, new CpuUniform(workers)),
                Map.entry(AdamW.Kernel.class, new CpuAdamW(workers)),
                Map.entry(GradientNorm.Kernel.class, new CpuGradientNorm(workers)),
                Map.entry(Dropout.Kernel.class, new CpuDropout(workers)));
    }
}
