package io.qlora.engine.tensor;

/**
 * Memory on an accelerator. The address is a plain number of its own type, so that nothing here can dereference it.
 *
 * @param address the device's address
 * @param byteSize size in bytes
 */
public record DeviceBuffer(long address, long byteSize) implements Buffer {}
