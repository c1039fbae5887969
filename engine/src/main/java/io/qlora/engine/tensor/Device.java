package io.qlora.engine.tensor;

import java.lang.foreign.MemorySegment;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Where tensors live and ops run: a set of kernel contracts, looked up by type, and memory. The kernels come from every
 * {@link KernelProvider} that serves this device.
 */
public abstract class Device implements AutoCloseable {

    private final Map<Class<?>, Object> kernels = new ConcurrentHashMap<>();
    private volatile ObservedKernels observed; // null: nobody looks on

    /** For implementations. */
    protected Device() {}

    /** As in reports: {@code cpu}, {@code cuda:0}. */
    public abstract String name();

    /** A new, empty source of this device's memory. */
    public abstract DeviceArena newArena();

    /** The part of {@code buffer}, memory of this device, from {@code offset} on. */
    public Buffer slice(Buffer buffer, long offset, long bytes) {
        return switch (buffer) {
            case HostBuffer host -> new HostBuffer(host.segment().asSlice(offset, bytes));
            case DeviceBuffer memory -> new DeviceBuffer(memory.address() + offset, bytes);
        };
    }

    /** Copies a tensor of this device to memory of the JVM, of the same size, and waits for it. */
    public abstract void read(Tensor source, MemorySegment target);

    /** Copies memory of the JVM to a tensor of this device, of the same size, and waits for it. */
    public abstract void write(MemorySegment source, Tensor target);

    /** Copies a tensor of this device to another of the same type and size. */
    public abstract void copy(Tensor source, Tensor target);

    /** Sets every byte of a tensor of this device to zero. */
    public abstract void zero(Tensor target);

    /**
     * This device's implementation of a kernel contract.
     *
     * @throws UnsupportedOperationException naming the contract and the device, when there is none
     */
    public <K> K kernel(Class<K> contract) {
        Object kernel = kernels.computeIfAbsent(contract, this::find);
        ObservedKernels looking = observed;
        return contract.cast(looking == null ? kernel : looking.of(contract, kernel));
    }

    /**
     * Has an observer told of every kernel that is looked up and run from now on, in place of the one before. With none,
     * kernels are handed out as they are, and nothing is measured.
     *
     * @param observer or null for none
     */
    public void observe(KernelObserver observer) {
        observed = observer == null ? null : new ObservedKernels(observer);
    }

    private Object find(Class<?> contract) {
        for (KernelProvider provider : providers()) {
            Object kernel = provider.kernels(this).get(contract);
            if (kernel != null) {
                return kernel;
            }
        }
        throw new UnsupportedOperationException("no kernel for " + contract.getName() + " on " + name()
                + ": is the module that brings it on the path?");
    }

    private static Iterable<KernelProvider> providers() {
        // The class loader that loaded the engine also sees its sibling modules; a caller's context loader may not.
        return ServiceLoader.load(KernelProvider.class, KernelProvider.class.getClassLoader());
    }

    /** Gives back what the device itself holds, such as its threads. Tensors must not be used afterwards. */
    @Override
    public void close() {}
}
