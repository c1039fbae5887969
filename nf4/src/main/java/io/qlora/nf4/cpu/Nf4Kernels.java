package io.qlora.nf4.cpu;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.cpu.Workers;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.KernelProvider;
import io.qlora.nf4.Nf4;
import io.qlora.nf4.Nf4Linear;
import java.util.Map;

/** The module's kernels for a processor, in vectors or, where those are missing, scalar. */
public final class Nf4Kernels implements KernelProvider {

    /** For {@link java.util.ServiceLoader}. */
    public Nf4Kernels() {}

    @Override
    public Map<Class<?>, Object> kernels(Device device) {
        if (!(device instanceof CpuDevice cpu)) {
            return Map.of();
        }
        Workers workers = cpu.workers();
        Nf4Linear.Kernel linear = cpu.vectors() ? new CpuNf4Linear(workers) : new ScalarNf4Linear(workers);
        return Map.of(Nf4.Codec.class, new CpuNf4Codec(workers, cpu.vectors()), Nf4Linear.Kernel.class, linear);
    }
}
