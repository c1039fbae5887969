package io.qlora.engine.memory;

import io.qlora.engine.tensor.Buffer;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.DeviceArena;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;

/**
 * Memory as long as a model: weights, adapters, optimizer state. Tensors are only added; all go together when it closes.
 * Small ones share chunks. Safe for use by several threads.
 */
public final class ModelMemory implements AutoCloseable {

    private static final int SHARE = 8; // of the chunks of a device's stacks
    private static final long ALIGNMENT = 256;

    private final Device device;
    private final DeviceArena arena;
    private final long chunkBytes;
    private Buffer chunk;
    private long used; // of chunk, bytes
    private long bytes; // of all tensors

    public ModelMemory(Device device) {
        this.device = device;
        this.arena = device.newArena();
        this.chunkBytes = device.chunkBytes() / SHARE;
    }

    public Device device() {
        return device;
    }

    /** A tensor with undefined elements. */
    public Tensor empty(DType dtype, long... dims) {
        Shape shape = Shape.of(dims);
        return new Tensor(dtype, shape, allocate(Math.multiplyExact(shape.size(), dtype.bytes())), device);
    }

    /** A tensor of zeros. */
    public Tensor zeros(DType dtype, long... dims) {
        Tensor tensor = empty(dtype, dims);
        device.zero(tensor);
        return tensor;
    }

    /** Bytes of all tensors made here. */
    public synchronized long bytes() {
        return bytes;
    }

    private synchronized Buffer allocate(long size) {
        bytes += size;
        if (size >= chunkBytes / 4) {
            return arena.allocate(size);
        }
        long start = (used + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        if (chunk == null || start + size > chunkBytes) {
            chunk = arena.allocate(chunkBytes);
            start = 0;
        }
        used = start + size;
        return device.slice(chunk, start, size);
    }

    @Override
    public void close() {
        arena.close();
    }
}
