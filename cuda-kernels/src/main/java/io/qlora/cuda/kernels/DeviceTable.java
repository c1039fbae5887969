package io.qlora.cuda.kernels;

import io.qlora.cuda.CudaDevice;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DeviceArena;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;

/** Device memory that a kernel object keeps between launches, made larger when it has to be. Never given back. */
final class DeviceTable {

    private final CudaDevice device;
    private Tensor memory; // U8

    DeviceTable(CudaDevice device) {
        this.device = device;
    }

    /** Memory of exactly this size, undefined, until the next call. */
    Tensor bytes(long bytes) {
        if (memory == null || memory.byteSize() < bytes) {
            DeviceArena arena = device.newArena(); // lives as long as the device
            memory = new Tensor(DType.U8, Shape.of(bytes), arena.allocate(bytes), device);
        }
        return memory.rows(0, bytes);
    }
}
