package io.qlora.engine.memory;

import io.qlora.engine.tensor.Buffer;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.DeviceArena;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Memory for tensors that do not die in the order they were born: gradients. First fit over a list of free ranges that
 * are joined again when they touch. Few tensors live at a time, so the list stays short. One thread at a time.
 *
 * <p>The memory comes in pieces, for which one takes the place as in {@link BumpPool}.
 */
public final class BlockPool implements AutoCloseable {

    private static final long ALIGNMENT = 256;

    private record Range(int chunk, long offset, long bytes) {}

    private final Device device;
    private final long chunkBytes;
    private DeviceArena arena;
    private final List<Buffer> chunks = new ArrayList<>();
    private final List<TreeMap<Long, Long>> free = new ArrayList<>(); // of each chunk: offset -> bytes
    private final Map<Buffer, Range> live = new IdentityHashMap<>();
    private long used;
    private long peak;
    private long end;
    private long capacity;
    private long replaced; // the peak when one piece took the place of several

    /**
     * An empty pool.
     *
     * @param chunkBytes how much it takes from the device at a time; a larger tensor gets a chunk of its own
     */
    public BlockPool(Device device, long chunkBytes) {
        this.device = device;
        this.arena = device.newArena();
        this.chunkBytes = chunkBytes;
    }

    /** Takes this much in one piece, unless it has some. */
    void reserve(long bytes) {
        if (chunks.isEmpty() && bytes > 0) {
            add(bytes);
        }
    }

    private void add(long bytes) {
        chunks.add(arena.allocate(bytes));
        capacity += bytes;
        free.add(new TreeMap<>(Map.of(0L, bytes)));
    }

    /** A tensor with undefined elements. */
    public Tensor empty(DType dtype, Shape shape) {
        long bytes = Math.multiplyExact(shape.size(), dtype.bytes());
        long padded = Math.max(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
        Range range = take(padded);
        Buffer buffer = device.slice(chunks.get(range.chunk), range.offset, bytes);
        live.put(buffer, range);
        used += padded;
        peak = Math.max(peak, used);
        return new Tensor(dtype, shape, buffer, device);
    }

    private Range take(long bytes) {
        for (int chunk = 0; chunk < chunks.size(); chunk++) {
            TreeMap<Long, Long> ranges = free.get(chunk);
            for (Map.Entry<Long, Long> range : ranges.entrySet()) {
                long start = range.getKey(); // read first: removing may move another range into this entry
                long size = range.getValue();
                if (size >= bytes) {
                    ranges.remove(start);
                    if (size > bytes) {
                        ranges.put(start + bytes, size - bytes);
                    }
                    end = Math.max(end, start + bytes);
                    return new Range(chunk, start, bytes);
                }
            }
        }
        add(Math.max(bytes, chunkBytes));
        return take(bytes);
    }

    /** Gives back a tensor made here, or another tensor over exactly its memory. */
    public void free(Tensor tensor) {
        Range range = live.remove(tensor.buffer());
        if (range == null) {
            throw new IllegalStateException(tensor + " is not, or no longer, of this pool");
        }
        used -= range.bytes;
        TreeMap<Long, Long> ranges = free.get(range.chunk);
        long start = range.offset;
        long bytes = range.bytes;
        Map.Entry<Long, Long> below = ranges.lowerEntry(start);
        if (below != null && below.getKey() + below.getValue() == start) {
            start = below.getKey();
            bytes += below.getValue();
            ranges.remove(start);
        }
        Long above = ranges.remove(range.offset + range.bytes);
        ranges.put(start, above == null ? bytes : bytes + above);
        boolean grown = peak > replaced; // what one piece does not hold, because of gaps, it would not hold again
        if (used == 0 && chunks.size() > 1 && grown && Pieces.leaveMuch(capacity, peak, chunkBytes)) {
            replaced = peak;
            arena.close();
            arena = device.newArena();
            chunks.clear();
            free.clear();
            capacity = 0;
            add(peak);
        }
    }

    /** Bytes of the tensors that live. */
    public long used() {
        return used;
    }

    /** The most that was ever {@link #used}, bytes. */
    public long peak() {
        return peak;
    }

    /** Where the last of the tensors ever made ended: what a single piece has to be long. */
    long end() {
        return end;
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
