package io.qlora.cuda;

import io.qlora.cuda.driver.CudaDriver;
import java.lang.foreign.MemorySegment;

/**
 * Copies between memory of the JVM, of any kind, and the card, through a ring of pinned buffers: while one is on its way,
 * the next is filled or emptied.
 */
final class Staging implements AutoCloseable {

    private static final int BUFFERS = 2;

    private final CudaDriver driver;
    private final long stream;
    private final long bufferBytes;
    private final MemorySegment[] buffers = new MemorySegment[BUFFERS];
    private final long[] events = new long[BUFFERS];

    Staging(CudaDriver driver, long stream, long bufferBytes) {
        this.driver = driver;
        this.stream = stream;
        this.bufferBytes = bufferBytes;
        for (int i = 0; i < BUFFERS; i++) {
            buffers[i] = driver.allocateHost(bufferBytes);
            events[i] = driver.createEvent(false);
        }
    }

    /** Copies all of {@code source}; it may be reused at once, the buffers when the stream has come so far. */
    void write(MemorySegment source, long target) {
        long bytes = source.byteSize();
        for (long at = 0, turn = 0; at < bytes; at += bufferBytes, turn++) {
            int i = (int) (turn % BUFFERS);
            long part = Math.min(bufferBytes, bytes - at);
            driver.synchronizeEvent(events[i]); // of its last use, if any
            MemorySegment.copy(source, at, buffers[i], 0, part);
            driver.copyToDevice(target + at, buffers[i].asSlice(0, part), stream);
            driver.recordEvent(events[i], stream);
        }
    }

    /** Fills all of {@code target}, and waits for it. */
    void read(long source, MemorySegment target) {
        long bytes = target.byteSize();
        long started = 0;
        for (long at = 0; at < bytes; at += bufferBytes) {
            while (started < bytes && started < at + BUFFERS * bufferBytes) {
                int i = buffer(started);
                long part = Math.min(bufferBytes, bytes - started);
                driver.copyToHost(buffers[i].asSlice(0, part), source + started, stream);
                driver.recordEvent(events[i], stream);
                started += part;
            }
            driver.synchronizeEvent(events[buffer(at)]);
            MemorySegment.copy(buffers[buffer(at)], 0, target, at, Math.min(bufferBytes, bytes - at));
        }
    }

    private int buffer(long at) {
        return (int) (at / bufferBytes % BUFFERS);
    }

    @Override
    public void close() {
        for (int i = 0; i < BUFFERS; i++) {
            driver.destroyEvent(events[i]);
            driver.freeHost(buffers[i]);
        }
    }
}
