package io.qlora.engine.cpu;

import io.qlora.engine.ops.RmsNorm;
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
        return Map.ofEntries(Map.entry(RmsNorm.Kernel.class, new CpuRmsNorm(workers)));
    }
}
