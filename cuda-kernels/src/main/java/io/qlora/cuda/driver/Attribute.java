package io.qlora.cuda.driver;

/** What can be asked of a device; numbered as {@code CUdevice_attribute}. */
public enum Attribute {
    MULTIPROCESSORS(16),
    MEMORY_CLOCK_KILOHERTZ(36),
    MEMORY_BUS_BITS(37),
    L2_CACHE_BYTES(38),
    COMPUTE_MAJOR(75),
    COMPUTE_MINOR(76),
    /** Shared memory a block may have when its function asks for it, bytes. */
    SHARED_BYTES_PER_BLOCK(97);

    private final int number;

    Attribute(int number) {
        this.number = number;
    }

    /** CUDA's number. */
    public int number() {
        return number;
    }
}
