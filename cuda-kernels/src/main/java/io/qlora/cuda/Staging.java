package io.qlora.cuda;

import io.qlora.cuda.driver.CudaDriver;
import java.lang.foreign.MemorySegment;

/**
 * Copies between memory of the JVM, of any kind, and the card, through rings of pinned buffers: while one is on its way, the
 * next is filled or emptied. What is small has a ring of many small buffers, so that writing the inputs of a step need not
 * wait for the steps before it.
 */
final class Staging implements AutoCloseable {

    private static final int LARGE = 2;
    private static final int SMALL = 32;

    /** Pinned buffers, used in turn. */
    private final class Ring implements AutoCloseable {

        final long bufferBytes;
        final MemorySegment memory;
        final long[] events;
        int turn;

        Ring(int count, long bufferBytes) {
            this.bufferBytes = bufferBytes;
            this.memory = driver.allocateHost(count * bufferBytes);
            this.events = new long[count];
            for (int i = 0; i < count; i++) {
                events[i] = driver.createEvent(false);
            }
        }

        MemorySegment buffer(int i, long bytes) {
            return memory.asSlice(i * bufferBytes, bytes);
        }

        void write(MemorySegment source, long target) {
            for (long at = 0; at < source.byteSize(); at += bufferBytes) {
                long part = Math.min(bufferBytes, source.byteSize() - at);
                driver.synchronizeEvent(events[turn]); // of its last use, if any
                buffer(turn, part).copyFrom(source.asSlice(at, part));
                driver.copyToDevice(target + at, buffer(turn, part), stream);
                driver.recordEvent(events[turn], stream);
                turn = (turn + 1) % events.length;
            }
        }

        @Override
        public void close() {
            for (long event : events) {
                driver.destroyEvent(event);
            }
            driver.freeHost(memory);
        }
    }

    private final CudaDriver driver;
    private final long stream;
    private final Ring large;
    private final Ring small;

    /** Rings of two buffers of {@code bufferBytes}, and of many that together are as large as one of these. */
    Staging(CudaDriver driver, long stream, long bufferBytes) {
        this.driver = driver;
        this.stream = stream;
        this.large = new Ring(LARGE, bufferBytes);
        this.small = new Ring(SMALL, Math.max(1, bufferBytes / SMALL));
    }

    /** Copies all of {@code source}; it may be reused at once, the buffers when the stream has come so far. */
    void write(MemorySegment source, long target) {
        (source.byteSize() <= small.bufferBytes ? small : large).write(source, target);
    }

    /** Fills all of {@code target}, and waits for it. */
    void read(long source, MemorySegment target) {
        long bytes = target.byteSize();
        long size = large.bufferBytes;
        long started = 0;
        for (long at = 0; at < bytes; at += size) {
            while (started < bytes && started < at + LARGE * size) {
                int i = index(started);
                MemorySegment part = large.buffer(i, Math.min(size, bytes - started));
                driver.copyToHost(part, source + started, stream); // behind whatever is written from it
                driver.recordEvent(large.events[i], stream);
                started += part.byteSize();
            }
            driver.synchronizeEvent(large.events[index(at)]);
            MemorySegment part = large.buffer(index(at), Math.min(size, bytes - at));
            target.asSlice(at, part.byteSize()).copyFrom(part);
        }
    }

    private int index(long at) {
        return (int) (at / large.bufferBytes % LARGE);
    }

    @Override
    public void close() {
        small.close();
        large.close();
    }
}
