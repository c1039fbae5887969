package io.qlora.cuda;

import io.qlora.cuda.driver.CudaException;
import io.qlora.engine.tensor.Buffer;
import io.qlora.engine.tensor.DeviceArena;
import io.qlora.engine.tensor.DeviceMemoryException;
import io.qlora.engine.tensor.HostBuffer;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/** Memory of the machine that stays where it is, so that the card copies to and from it by itself; all given back at once. */
final class PinnedMemory implements DeviceArena {

    private final CudaDevice device;
    private final List<MemorySegment> segments = new ArrayList<>();

    PinnedMemory(CudaDevice device) {
        this.device = device;
    }

    @Override
    public synchronized Buffer allocate(long bytes) {
        device.requireOwner();
        try {
            MemorySegment segment = device.driver().allocateHost(Math.max(1, bytes));
            segments.add(segment);
            return new HostBuffer(segment.asSlice(0, bytes));
        } catch (CudaException e) {
            if (!e.outOfMemory()) {
                throw e;
            }
            throw new DeviceMemoryException(
                    "the machine has no room for " + (bytes >> 20) + " MiB more of pinned memory for " + device.name()
                            + ": leave activations on the card, or raise the limit of locked memory (ulimit -l)",
                    e);
        }
    }

    @Override
    public synchronized void close() {
        device.requireOwner();
        device.finish(); // a copy may be under way
        segments.forEach(device.driver()::freeHost);
        segments.clear();
    }
}
