package io.qlora.cuda;

import io.qlora.cuda.driver.CudaException;

/**
 * Memory of a card that is used over and over, for something that is in it for a few launches: grows to the most that was
 * ever asked for, and is kept. What is in it is lost when it grows.
 */
public final class Workspace implements AutoCloseable {

    private final CudaDevice device;
    private long address;
    private long size;
    private long refused = Long.MAX_VALUE; // the least the card had no room for

    /** Nothing yet. */
    public Workspace(CudaDevice device) {
        this.device = device;
    }

    /**
     * Makes sure of at least {@code bytes}, above 0.
     *
     * @return where they are, aligned to 256 bytes; 0 if the card has no room for them
     */
    public long reserve(long bytes) {
        device.requireOwner();
        if (bytes <= size) {
            return address;
        }
        if (bytes >= refused) {
            return 0; // asking again and again would cost more than what is to be done without
        }
        close();
        try {
            address = device.driver().allocate(bytes);
            size = bytes;
        } catch (CudaException e) {
            if (!e.outOfMemory()) {
                throw e;
            }
            refused = bytes;
        }
        return address;
    }

    /** Bytes that are kept. */
    public long size() {
        return size;
    }

    @Override
    public void close() {
        if (address != 0) {
            device.finish(); // what was begun may still use it
            device.driver().free(address);
            address = 0;
            size = 0;
        }
    }
}
