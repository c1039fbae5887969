package io.qlora.engine.tensor;

import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Map;
import java.util.Optional;
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

    /** For whoever asks: what computes in the first line, then with what, as far as there is more to say. */
    public List<String> report() {
        return List.of(name());
    }

    /** What activations and their gradients are kept in: float32, unless the device is faster with less. */
    public DType activations() {
        return DType.F32;
    }

    /** Whether its memory is the JVM's, so that a mapped file is memory of this device: a processor. */
    public boolean onHost() {
        return false;
    }

    /**
     * What it has left of memory of its own, and what it has, bytes.
     *
     * @param free what can be taken now
     * @param total all there is
     */
    public record Memory(long free, long total) {}

    /** This device's own memory; empty where it computes in the machine's. */
    public Optional<Memory> memory() {
        return Optional.empty();
    }

    /**
     * Bytes of intermediate results that an op should have in memory at a time, where it can choose: as much as keeps all
     * of the device busy, and no more than needed for that. As it is, a processor's: each chunk of logits costs it a pass over
     * the head's weight.
     */
    public long pieceBytes() {
        return 32L << 20;
    }

    /**
     * Bytes of its own memory that this device takes to compute with weights in 4 bits, beside all tensors; none, unless it
     * decodes them whole.
     *
     * @param largest elements of the largest of these weights; 0 if there are none
     */
    public long decodingBytes(long largest) {
        return 0;
    }

    /** How much memory a stack of tensors should take at a time, bytes: what a piece of it has left over is lost. */
    public long chunkBytes() {
        return 8L << 20;
    }

    /** A new, empty source of this device's memory. */
    public abstract DeviceArena newArena();

    /**
     * A new, empty source of the machine's memory, for what this device has no room for: {@link #copyBeside} is for it and
     * nothing else.
     *
     * @throws UnsupportedOperationException if the device computes in the machine's memory itself
     */
    public DeviceArena newHostArena() {
        throw new UnsupportedOperationException(name() + " has no memory but the machine's");
    }

    /** The part of {@code buffer}, memory of this device, from {@code offset} on. */
    public Buffer slice(Buffer buffer, long offset, long bytes) {
        return switch (buffer) {
            case HostBuffer host -> new HostBuffer(host.segment().asSlice(offset, bytes));
            case DeviceBuffer memory -> new DeviceBuffer(memory.address() + offset, bytes);
        };
    }

    /** Copies a tensor of this device to memory of the JVM, of the same size, and waits for it. */
    public abstract void read(Tensor source, MemorySegment target);

    /** Copies memory of the JVM to a tensor of this device, of the same size. The source may be changed at once. */
    public abstract void write(MemorySegment source, Tensor target);

    /** Copies a tensor of this device to another of the same type and size. */
    public abstract void copy(Tensor source, Tensor target);

    /**
     * Begins to copy between a tensor of this device and one of {@link #newHostArena}, of the same type and size, either
     * way: after all work that was begun before, beside all that is begun later. Neither may be touched before {@link
     * #awaitCopies}, but the source read.
     */
    public void copyBeside(Tensor source, Tensor target) {
        copy(source, target);
    }

    /** Has the work that is begun from now on wait for every {@link #copyBeside}; the caller does not. */
    public void awaitCopies() {}

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
