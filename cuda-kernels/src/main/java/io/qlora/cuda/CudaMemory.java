package io.qlora.cuda;

import io.qlora.cuda.driver.CudaDriver;
import io.qlora.cuda.driver.CudaException;
import io.qlora.engine.tensor.Buffer;
import io.qlora.engine.tensor.DeviceArena;
import io.qlora.engine.tensor.DeviceBuffer;
import io.qlora.engine.tensor.DeviceMemoryException;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Memory of a card, all given back at once. */
final class CudaMemory implements DeviceArena {

    private static final long SMALLEST_PROBE = 1L << 20;

    private final CudaDevice device;
    private final List<Long> addresses = new ArrayList<>();

    CudaMemory(CudaDevice device) {
        this.device = device;
    }

    @Override
    public synchronized Buffer allocate(long bytes) {
        device.requireOwner();
        long address = take(Math.max(1, bytes));
        addresses.add(address);
        return new DeviceBuffer(address, bytes);
    }

    private long take(long bytes) {
        try {
            return device.driver().allocate(bytes);
        } catch (CudaException e) {
            if (!e.outOfMemory()) {
                throw e;
            }
            CudaDriver.MemoryInfo info = device.driver().memoryInfo();
            throw new DeviceMemoryException(
                    device.name() + " has no room for " + size(bytes) + " more: " + size(info.free()) + " of "
                            + size(info.total()) + " are free, at most " + size(largestBlock(info.free()))
                            + " in one piece; lower --max-length or --per-device-train-batch-size, or use"
                            + " --gradient-checkpointing",
                    e);
        }
    }

    /** The largest piece that can be had, found by asking; to within a megabyte. */
    private long largestBlock(long free) {
        long fits = 0;
        long fails = free + 1;
        while (fails - fits > SMALLEST_PROBE) {
            long middle = fits + (fails - fits) / 2;
            try {
                device.driver().free(device.driver().allocate(middle));
                fits = middle;
            } catch (CudaException e) {
                fails = middle;
            }
        }
        return fits;
    }

    private static String size(long bytes) {
        return bytes >= 1L << 30
                ? String.format(Locale.ROOT, "%.1f GiB", bytes / (double) (1L << 30))
                : String.format(Locale.ROOT, "%.1f MiB", bytes / (double) (1L << 20));
    }

    @Override
    public synchronized void close() {
        device.requireOwner();
        device.finish(); // what was begun may still use it
        addresses.forEach(device.driver()::free);
        addresses.clear();
    }
}
