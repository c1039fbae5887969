package io.qlora.engine.tensor;

/** Where a tensor's elements are: in memory the JVM can address, or on a device. */
public sealed interface Buffer permits HostBuffer, DeviceBuffer {

    /** Size in bytes. */
    long byteSize();
}
