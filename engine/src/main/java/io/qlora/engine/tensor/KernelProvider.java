package io.qlora.engine.tensor;

import java.util.Map;

/** A module's kernels, found by {@link java.util.ServiceLoader}: one provider a module and kind of device. */
public interface KernelProvider {

    /** The kernels for {@code device} by contract; empty when this provider is not for that kind of device. */
    Map<Class<?>, Object> kernels(Device device);
}
