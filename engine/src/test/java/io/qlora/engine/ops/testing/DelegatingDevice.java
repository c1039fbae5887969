package io.qlora.engine.ops.testing;

import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.DeviceArena;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;

/** Another device's kernels and memory, but for what a test has otherwise. Closing it does not close the other. */
public abstract class DelegatingDevice extends Device {

    protected final Device device;

    protected DelegatingDevice(Device device) {
        this.device = device;
    }

    @Override
    public <K> K kernel(Class<K> contract) {
        return device.kernel(contract);
    }

    @Override
    public DeviceArena newArena() {
        return device.newArena();
    }

    @Override
    public void read(Tensor source, MemorySegment target) {
        device.read(source, target);
    }

    @Override
    public void write(MemorySegment source, Tensor target) {
        device.write(source, target);
    }

    @Override
    public void copy(Tensor source, Tensor target) {
        device.copy(source, target);
    }

    @Override
    public void zero(Tensor target) {
        device.zero(target);
    }
}
