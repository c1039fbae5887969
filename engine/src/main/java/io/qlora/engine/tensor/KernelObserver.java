package io.qlora.engine.tensor;

import java.lang.reflect.Method;

/** Is told of every kernel a device has run: to measure where the time goes. */
@FunctionalInterface
public interface KernelObserver {

    /**
     * A kernel has returned. Of a kernel that calls another, the outer one alone is told.
     *
     * @param contract the interface it was looked up by
     * @param method of the contract
     * @param arguments as they were given
     * @param nanoseconds from call to return: on a device that does not wait for its kernels, what the launch took
     */
    void ran(Class<?> contract, Method method, Object[] arguments, long nanoseconds);
}
