package io.qlora.lora.cpu;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.KernelProvider;
import io.qlora.lora.LoraLinear;
import java.util.Map;

/** The module's kernels for a processor, in vectors or, where those are missing, scalar. */
public final class LoraKernels implements KernelProvider {

    /** For {@link java.util.ServiceLoader}. */
    public LoraKernels() {}

    @Override
    public Map<Class<?>, Object> kernels(Device device) {
        if (!(device instanceof CpuDevice cpu)) {
            return Map.of();
        }
        return Map.of(LoraLinear.Kernel.class, cpu.vectors() ? new CpuLoraLinear(cpu) : new ScalarLoraLinear(cpu));
    }
}
