package io.qlora.engine.scalar;

import io.qlora.engine.cpu.CpuDevice;
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
import java.util.Map;

/** The engine's kernels for a processor without the Vector API: the oracle of the others in the tests. */
public final class ScalarKernels implements KernelProvider {

    /** For {@link java.util.ServiceLoader}. */
    public ScalarKernels() {}

    @Override
    public Map<Class<?>, Object> kernels(Device device) {
        if (!(device instanceof CpuDevice cpu) || cpu.vectors()) {
            return Map.of();
        }
        return Map.ofEntries(
                Map.entry(Add.Kernel.class, new ScalarAdd()),
                Map.entry(AddRmsNorm.Kernel.class, new ScalarAddRmsNorm()),
                Map.entry(Attention.Kernel.class, new ScalarAttention()),
                Map.entry(CachedAttention.Kernel.class, new ScalarCachedAttention()),
                Map.entry(Cast.Kernel.class, new ScalarCast()),
                Map.entry(Embedding.Kernel.class, new ScalarEmbedding()),
                Map.entry(Linear.Kernel.class, new ScalarLinear()),
                Map.entry(LinearCrossEntropy.Kernel.class, new ScalarLinearCrossEntropy()),
                Map.entry(RmsNorm.Kernel.class, new ScalarRmsNorm()),
                Map.entry(Rope.Kernel.class, new ScalarRope()),
                Map.entry(SwiGlu.Kernel.class, new ScalarSwiGlu()),
                Map.entry(Uniform.Kernel.class, new ScalarUniform()),
                Map.entry(AdamW.Kernel.class, new ScalarAdamW()),
                Map.entry(GradientNorm.Kernel.class, new ScalarGradientNorm()),
                Map.entry(Dropout.Kernel.class, new ScalarDropout()));
    }
}
