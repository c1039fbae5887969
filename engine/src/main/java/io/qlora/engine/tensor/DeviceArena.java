package io.qlora.engine.tensor;

/** A source of device memory, all of which is given back at once. */
public interface DeviceArena extends AutoCloseable {

    /** Uninitialised memory, aligned to 64 bytes on the host and to 256 on an accelerator. */
    Buffer allocate(long bytes);

    /** Gives all of it back. No tensor in it may be used afterwards, nor be in use now. */
    @Override
    void close();
}
