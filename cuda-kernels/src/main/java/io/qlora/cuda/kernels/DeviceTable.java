package io.qlora.cuda.kernels;

import io.qlora.cuda.CudaDevice;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Device memory that a kernel object keeps between launches, made larger when it has to be: as long as the device. */
final class DeviceTable {

    private final CudaDevice device;
    private Tensor memory; // U8
    private MemorySegment held; // what `of` put there last

    DeviceTable(CudaDevice device) {
        this.device = device;
    }

    /** Memory of exactly this size, undefined, until the next call. */
    Tensor bytes(long bytes) {
        if (memory == null || memory.byteSize() < bytes) {
            memory = new Tensor(DType.U8, Shape.of(bytes), device.kept().allocate(bytes), device);
        }
        return memory.rows(0, bytes);
    }

    /** A table with these rows, which are copied only when they are not what it holds already. */
    Tensor of(MemorySegment rows) {
        Tensor table = bytes(rows.byteSize());
        if (held == null || held.mismatch(rows) != -1) {
            held = Arena.ofAuto().allocate(rows.byteSize()).copyFrom(rows);
            device.write(rows, table);
        }
        return table;
    }
}
