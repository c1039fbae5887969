package io.qlora.cuda.driver;

import java.lang.foreign.MemorySegment;

/**
 * CUDA's driver API, as far as the backend needs it; named and behaving as in CUDA's manual. Devices are ordinals, handles
 * and device addresses are plain numbers, host memory is native. A call that fails throws a {@link CudaException}. As in
 * CUDA, what concerns memory, modules, streams and events concerns the context that is current on the calling thread.
 */
public interface CudaDriver extends AutoCloseable {

    /** {@code CUDA_ERROR_OUT_OF_MEMORY}. */
    int OUT_OF_MEMORY = 2;

    /** {@code CUDA_ERROR_NO_DEVICE}. */
    int NO_DEVICE = 100;

    /** The stream on which everything waits for everything. */
    long DEFAULT_STREAM = 0;

    /** How calls get to CUDA, as in reports: {@code panama}. */
    String binding();

    /** {@code cuInit}; before anything else. */
    void init();

    /** The newest CUDA the driver can serve, as {@code 1000·major + 10·minor}. */
    int driverVersion();

    int deviceCount();

    String deviceName(int device);

    /** Memory of the card, bytes. */
    long totalMemory(int device);

    int attribute(int device, Attribute attribute);

    /** The device's context, the one that all libraries of the process share. To be released as often as retained. */
    long retainPrimaryContext(int device);

    void releasePrimaryContext(int device);

    /** Makes a context current on this thread. */
    void setCurrent(long context);

    /** What the card has left and what it has, bytes. */
    record MemoryInfo(long free, long total) {}

    MemoryInfo memoryInfo();

    /** Memory on the card, aligned to 256 bytes; {@code bytes} above 0. */
    long allocate(long bytes);

    void free(long address);

    /** Host memory that the card can read and write by itself; not zeroed. */
    MemorySegment allocateHost(long bytes);

    void freeHost(MemorySegment memory);

    /** Copies all of {@code source}; it may be reused when the stream has come this far. */
    void copyToDevice(long target, MemorySegment source, long stream);

    /** Fills all of {@code target}; it may be read when the stream has come this far. */
    void copyToHost(MemorySegment target, long source, long stream);

    void copyOnDevice(long target, long source, long bytes, long stream);

    /** Sets bytes. */
    void fill(long target, byte value, long bytes, long stream);

    /**
     * Loads code: a cubin, a fatbin, or PTX, which the driver then compiles.
     *
     * @param image a copy is made
     */
    long loadModule(byte[] image);

    void unloadModule(long module);

    /** A kernel of a module by its unmangled name. */
    long function(long module, String name);

    /** Allows a kernel this much dynamic shared memory, bytes; needed above 48 KiB. */
    void allowSharedMemory(long function, int bytes);

    /**
     * Begins a kernel.
     *
     * @param shape of the grid and its blocks
     * @param arguments addresses of the kernel's arguments, in order; read before this returns
     */
    void launch(long function, Shape shape, long stream, MemorySegment arguments);

    /**
     * The extent of a launch.
     *
     * @param blocksX blocks along x, and so on
     * @param threads in a block, along x
     * @param sharedBytes dynamic shared memory of a block
     */
    record Shape(int blocksX, int blocksY, int blocksZ, int threads, int sharedBytes) {

        /** A row of blocks without dynamic shared memory. */
        public static Shape of(int blocks, int threads) {
            return new Shape(blocks, 1, 1, threads, 0);
        }
    }

    /** A stream that does not wait for the default one. */
    long createStream();

    void destroyStream(long stream);

    void synchronizeStream(long stream);

    /** Has the stream wait for an event. */
    void waitForEvent(long stream, long event);

    /** An event; with {@code timing} it can be given to {@link #elapsedMillis}. */
    long createEvent(boolean timing);

    void destroyEvent(long event);

    void recordEvent(long event, long stream);

    void synchronizeEvent(long event);

    /** Time between two recorded events, to about half a microsecond. */
    float elapsedMillis(long start, long end);

    /** Has another library begin its own kernels: {@code call} and nothing else, for those who watch what is begun. */
    default void launchElsewhere(Runnable call) {
        call.run();
    }

    /** Gives back what the binding itself holds. */
    @Override
    default void close() {}
}
