package io.qlora.engine.memory;

import io.qlora.engine.tensor.Buffer;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.DeviceArena;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * A stack of memory: tensors are laid one behind the other, and everything above a mark is dropped at once. The memory
 * itself is kept for the next use, since fresh pages cost many times what reused ones do. One thread at a time.
 */
public final class BumpPool implements AutoCloseable {

    private static final long ALIGNMENT = 256;

    /** A position to go back to. */
    public record Mark(int chunk, long offset) {}

    private final Device device;
    private final DeviceArena arena;
    private final long chunkBytes;
    private final List<Buffer> chunks = new ArrayList<>();
    private final List<Long> before = new ArrayList<>(); // bytes of the chunks below each chunk
    private int current;
    private long offset;
    private long peak;

    /**
     * An empty pool.
     *
     * @param chunkBytes how much it takes from the device at a time; a larger tensor gets a chunk of its own
     */
    public BumpPool(Device device, long chunkBytes) {
        this.device = device;
        this.arena = device.newArena();
        this.chunkBytes = chunkBytes;
    }

    /** A tensor with undefined elements, on top of the stack. */
    public Tensor empty(DType dtype, Shape shape) {
        long bytes = Math.multiplyExact(shape.size(), dtype.bytes());
        return new Tensor(dtype, shape, allocate(bytes), device);
    }

    private Buffer allocate(long bytes) {
        long start = (offset + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
        while (current < chunks.size() && start + bytes > chunks.get(current).byteSize()) {
            current++;
            start = 0;
        }
        if (current == chunks.size()) {
            before.add(capacity());
            chunks.add(arena.allocate(Math.max(bytes, chunkBytes)));
            start = 0;
        }
        offset = start + bytes;
        peak = Math.max(peak, used());
        return device.slice(chunks.get(current), start, bytes);
    }

    /** The top of the stack. */
    public Mark mark() {
        return new Mark(current, offset);
    }

    /** Drops every tensor made since {@code mark}. */
    public void release(Mark mark) {
        if (mark.chunk > current || (mark.chunk == current && mark.offset > offset)) {
            throw new IllegalStateException("the pool is already below " + mark);
        }
        current = mark.chunk;
        offset = mark.offset;
    }

    /** Bytes from the bottom to the top of the stack, those left over at a chunk's end included. */
    public long used() {
        return (current < before.size() ? before.get(current) : capacity()) + offset;
    }

    /** The most that was ever {@link #used}, bytes. */
    public long peak() {
        return peak;
    }

    /** Bytes taken from the device. */
    public long capacity() {
        return chunks.isEmpty() ? 0 : before.getLast() + chunks.getLast().byteSize();
    }

    @Override
    public void close() {
        arena.close();
    }
}
