package io.qlora.engine.scalar;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.ops.Add;
import io.qlora.engine.ops.RmsNorm;
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
                Map.entry(Add.Kernel.class, new ScalarAdd()), Map.entry(RmsNorm.Kernel.class, new ScalarRmsNorm()));
    }
}
