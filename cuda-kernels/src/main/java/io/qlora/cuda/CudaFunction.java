package io.qlora.cuda;

/** A kernel on a device, by its unit and name; loaded when it is first launched. */
public final class CudaFunction {

    private static final int SHARED_WITHOUT_ASKING =
            32 << 10; // of 48 KiB, of which a kernel's static memory takes a part

    private final CudaDevice device;
    private final String unit;
    private final String name;
    private long handle;
    private int allowed = SHARED_WITHOUT_ASKING;

    CudaFunction(CudaDevice device, String unit, String name) {
        this.device = device;
        this.unit = unit;
        this.name = name;
    }

    /** The driver's handle, for a launch with this much dynamic shared memory, bytes. */
    long handle(int sharedBytes) {
        if (handle == 0) {
            handle = device.driver().function(device.module(unit), name);
        }
        if (sharedBytes > allowed) {
            device.driver().allowSharedMemory(handle, sharedBytes);
            allowed = sharedBytes;
        }
        return handle;
    }

    @Override
    public String toString() {
        return name;
    }
}
