package io.qlora.engine.memory;

import io.qlora.engine.tensor.Buffer;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.DeviceArena;
import io.qlora.engine.tensor.DeviceBuffer;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * A device that computes nothing and has no memory, only addresses: running a model's own step on it tells what
 * {@link StepMemory} and {@link ModelMemory} the step needs elsewhere, to the byte and at once. Tensors can be made and
 * written; all of them read as zeros.
 *
 * <p>This is exact because what an op allocates depends on shapes alone, and all its arithmetic is in kernels, each of which
 * is replaced here by one that does nothing.
 */
public final class PlanningDevice extends Device {

    private static final long ALIGNMENT = 256;
    private static final long ENDLESS = 1L << 56; // bytes
    private static final InvocationHandler NOTHING = PlanningDevice::nothing;

    private final Map<Class<?>, Object> kernels = new ConcurrentHashMap<>();
    private final Device planned; // null: a processor

    /** A device on which nothing has been made yet, in place of a processor. */
    public PlanningDevice() {
        this(null);
    }

    /** A device on which nothing has been made yet, in place of this one. */
    public PlanningDevice(Device planned) {
        this.planned = planned;
    }

    @Override
    public String name() {
        return "planning";
    }

    @Override
    public DType activations() {
        return planned == null ? super.activations() : planned.activations();
    }

    @Override
    public boolean onHost() {
        return planned == null || planned.onHost();
    }

    @Override
    public long pieceBytes() {
        return planned == null ? super.pieceBytes() : planned.pieceBytes();
    }

    /** One piece holds all: what pools say that they need has nothing to do with pieces. */
    @Override
    public long chunkBytes() {
        return ENDLESS;
    }

    @Override
    public DeviceArena newHostArena() {
        return onHost() ? super.newHostArena() : newArena();
    }

    @Override
    public DeviceArena newArena() {
        return new DeviceArena() {
            private long end = ALIGNMENT;

            @Override
            public Buffer allocate(long bytes) {
                long address = end;
                end = Math.addExact(address, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
                return new DeviceBuffer(address, bytes);
            }

            @Override
            public void close() {}
        };
    }

    @Override
    public void read(Tensor source, MemorySegment target) {
        target.fill((byte) 0);
    }

    @Override
    public void write(MemorySegment source, Tensor target) {}

    @Override
    public void copy(Tensor source, Tensor target) {}

    @Override
    public void zero(Tensor target) {}

    /** An implementation of any contract, as long as its methods return nothing. */
    @Override
    public <K> K kernel(Class<K> contract) {
        return contract.cast(kernels.computeIfAbsent(
                contract, type -> Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, NOTHING)));
    }

    private static Object nothing(Object kernel, Method method, Object[] arguments) {
        if (method.getReturnType() != void.class) {
            throw new UnsupportedOperationException(
                    method + " returns a result, which cannot be planned: a kernel leaves its results in tensors");
        }
        return null;
    }
}
