package io.qlora.engine.memory;

import io.qlora.engine.tensor.Buffer;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.DeviceArena;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Supplier;

/**
 * A stack of memory: tensors are laid one behind the other, and everything above a mark is dropped at once. The memory
 * itself is kept for the next use, since fresh pages cost many times what reused ones do. One thread at a time.
 *
 * <p>The memory comes in pieces, and a tensor is laid on the first on which there is room: a mark is therefore where each
 * piece ends, and what one has left over below a large tensor is there for the small ones after it. Pieces that were taken for
 * tensors of other sizes than those of today leave much over: once the stack is empty, one piece takes their place.
 */
public final class BumpPool implements AutoCloseable {

    private static final long ALIGNMENT = 256;

    /** A position to go back to. */
    public static final class Mark {
        private final long[] ends; // of what is on each chunk there was

        private Mark(long[] ends) {
            this.ends = ends;
        }
    }

    private final Device device;
    private final Supplier<DeviceArena> arenas;
    private final long chunkBytes;
    private DeviceArena arena;
    private final List<Buffer> chunks = new ArrayList<>();
    private long[] ends = new long[0]; // of what is on each chunk
    private long used;
    private long peak;
    private long capacity;

    /**
     * An empty pool.
     *
     * @param chunkBytes how much it takes from the device at a time; a larger tensor gets a chunk of its own
     */
    public BumpPool(Device device, long chunkBytes) {
        this(device, device::newArena, chunkBytes);
    }

    /** An empty pool of another memory than the device's own. */
    BumpPool(Device device, Supplier<DeviceArena> arenas, long chunkBytes) {
        this.device = device;
        this.arenas = arenas;
        this.chunkBytes = chunkBytes;
        this.arena = arenas.get();
    }

    /** Takes what tensors of {@code bytes} in all will need, what aligns them included, in one piece, unless it has some. */
    void reserve(long bytes) {
        if (chunks.isEmpty() && bytes > 0) {
            add(bytes);
        }
    }

    private void add(long bytes) {
        Buffer chunk = arena.allocate(bytes);
        chunks.add(chunk);
        capacity += bytes;
        ends = Arrays.copyOf(ends, chunks.size());
    }

    /** A tensor with undefined elements, on top of the stack. */
    public Tensor empty(DType dtype, Shape shape) {
        long bytes = Math.multiplyExact(shape.size(), dtype.bytes());
        return new Tensor(dtype, shape, allocate(bytes), device);
    }

    private Buffer allocate(long bytes) {
        int chunk = 0;
        while (chunk < ends.length && start(chunk) + bytes > chunks.get(chunk).byteSize()) {
            chunk++;
        }
        if (chunk == ends.length) {
            add(Math.max(bytes, chunkBytes));
        }
        long start = start(chunk);
        used += start + bytes - ends[chunk];
        ends[chunk] = start + bytes;
        peak = Math.max(peak, used);
        return device.slice(chunks.get(chunk), start, bytes);
    }

    private long start(int chunk) {
        return (ends[chunk] + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }

    /** The top of the stack. */
    public Mark mark() {
        return new Mark(ends.clone());
    }

    /** Drops every tensor made since {@code mark}. */
    public void release(Mark mark) {
        for (int chunk = 0; chunk < ends.length; chunk++) {
            long end = chunk < mark.ends.length ? mark.ends[chunk] : 0;
            if (end > ends[chunk]) {
                throw new IllegalStateException("the pool is already below the mark it should go back to");
            }
            used -= ends[chunk] - end;
            ends[chunk] = end;
        }
        if (used == 0 && chunks.size() > 1 && Pieces.leaveMuch(capacity, peak, chunkBytes)) {
            arena.close();
            arena = arenas.get();
            chunks.clear();
            ends = new long[0];
            capacity = 0;
            add(peak);
        }
    }

    /** Bytes of the tensors on the stack, what aligns them included. */
    public long used() {
        return used;
    }

    /** The most that was ever {@link #used}, bytes. */
    public long peak() {
        return peak;
    }

    /** Bytes taken from the device. */
    public long capacity() {
        return capacity;
    }

    @Override
    public void close() {
        arena.close();
    }
}
