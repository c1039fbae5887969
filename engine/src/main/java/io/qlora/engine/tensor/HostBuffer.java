package io.qlora.engine.tensor;

import java.lang.foreign.MemorySegment;

/**
 * Off-heap memory. Never a heap segment: a kernel that sees both kinds loses its vector intrinsics.
 *
 * @param segment native memory, in the machine's (little-endian) byte order
 */
public record HostBuffer(MemorySegment segment) implements Buffer {

    public HostBuffer {
        if (!segment.isNative()) {
            throw new IllegalArgumentException("a host buffer needs native memory, found a heap segment");
        }
    }

    @Override
    public long byteSize() {
        return segment.byteSize();
    }
}
