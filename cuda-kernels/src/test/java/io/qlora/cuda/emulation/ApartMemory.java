package io.qlora.cuda.emulation;

import io.qlora.engine.ops.testing.DelegatingDevice;
import io.qlora.engine.tensor.Device;

/** A device that takes memory for each tensor by itself, so that AddressSanitizer sees where one ends. */
final class ApartMemory extends DelegatingDevice {

    private static final long LEAST = 8; // bytes: all tensors are larger than their share of it

    ApartMemory(Device device) {
        super(device);
    }

    @Override
    public long chunkBytes() {
        return LEAST;
    }

    @Override
    public String name() {
        return device.name() + ", tensors apart";
    }
}
