package io.qlora.engine.cpu;

import io.qlora.engine.tensor.Buffer;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.DeviceArena;
import io.qlora.engine.tensor.HostBuffer;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** The processor: off-heap memory, and kernels on {@link Workers}, in vectors or, where those are missing, scalar. */
public final class CpuDevice extends Device {

    private static final int ALIGNMENT = 64;
    private static final long PIECE = 256L << 10; // of a copy, bytes: one thread does not use all of memory's bandwidth

    private final Workers workers;
    private final boolean vectors;

    /**
     * A device of its own threads. Several may exist; their results depend on nothing but {@code threads}.
     *
     * @param threads how many threads compute, the caller included
     * @param vectors whether to use the Vector API
     */
    public CpuDevice(int threads, boolean vectors) {
        this.workers = new Workers(threads);
        this.vectors = vectors;
    }

    /** A device with the Vector API where that is available. */
    public CpuDevice(int threads) {
        this(threads, Vectors.available());
    }

    /** A device that uses all processors. */
    public CpuDevice() {
        this(Runtime.getRuntime().availableProcessors());
    }

    public Workers workers() {
        return workers;
    }

    /** Whether the kernels use the Vector API. */
    public boolean vectors() {
        return vectors;
    }

    /**
     * Bytes of the Java heap that each thread keeps for attention: keys, values and their gradients of one head of the longest
     * document, together, for the way forward and back.
     */
    public static long attentionBytes(long longest, int headSize) {
        return 6 * 4 * longest * headSize;
    }

    @Override
    public String name() {
        return "cpu";
    }

    @Override
    public boolean onHost() {
        return true;
    }

    @Override
    public DeviceArena newArena() {
        Arena arena = Arena.ofShared();
        return new DeviceArena() {
            @Override
            public Buffer allocate(long bytes) {
                return new HostBuffer(arena.allocate(bytes, ALIGNMENT));
            }

            @Override
            public void close() {
                arena.close();
            }
        };
    }

    @Override
    public void read(Tensor source, MemorySegment target) {
        MemorySegment.copy(source.segment(), 0, target, 0, source.byteSize());
    }

    @Override
    public void write(MemorySegment source, Tensor target) {
        MemorySegment.copy(source, 0, target.segment(), 0, target.byteSize());
    }

    @Override
    public void copy(Tensor source, Tensor target) {
        MemorySegment from = source.segment();
        MemorySegment to = target.segment();
        workers.run(pieces(from), piece -> {
            long at = piece * PIECE;
            MemorySegment.copy(from, at, to, at, Math.min(PIECE, from.byteSize() - at));
        });
    }

    @Override
    public void zero(Tensor target) {
        MemorySegment all = target.segment();
        workers.run(pieces(all), piece -> {
            long at = piece * PIECE;
            all.asSlice(at, Math.min(PIECE, all.byteSize() - at)).fill((byte) 0);
        });
    }

    private static int pieces(MemorySegment segment) {
        return Math.toIntExact(Math.ceilDiv(segment.byteSize(), PIECE));
    }

    @Override
    public void close() {
        workers.close();
    }
}
