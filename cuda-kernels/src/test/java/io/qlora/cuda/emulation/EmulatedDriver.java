package io.qlora.cuda.emulation;

import io.qlora.cuda.CodeSource;
import io.qlora.cuda.driver.Attribute;
import io.qlora.cuda.driver.CudaDriver;
import io.qlora.cuda.driver.CudaException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;

/**
 * A card that is the CPU: memory is {@code cuemu.h}'s, fresh memory is full of NaN, and a kernel is run by {@code cuemu.h} to
 * its end before the launch returns. One driver at a time in a process may launch.
 */
public final class EmulatedDriver implements CudaDriver {

    /** A card's limits, which a launch must keep to. */
    private static final int MOST_THREADS = 1024;

    private static final int MOST_SHARED_BYTES = 227 << 10;
    private static final int MOST_SHARED_WITHOUT_ASKING = 48 << 10;
    private static final int MOST_BLOCKS_YZ = 65535;
    private static final int INVALID_VALUE = 1;
    private static final int LAUNCH_FAILED = 719;

    private static final ValueLayout.OfLong ADDRESS = ValueLayout.JAVA_LONG;

    private record Kernel(String name, MemorySegment code) {}

    private final SymbolLookup library;
    private final long capacity;
    private final int computeMajor;
    private final MethodHandle launcher;
    private final MethodHandle take;
    private final MethodHandle release;
    private final Map<Long, Long> allocated = new HashMap<>(); // address -> bytes
    private final Map<Long, Kernel> functions = new HashMap<>();
    private final Map<Long, Integer> allowedShared = new HashMap<>();
    private long used;
    private long launches;

    /**
     * A card of this much memory, bytes.
     *
     * @param order of a block's threads, from 0: see {@code cuemu.h}
     */
    public EmulatedDriver(SymbolLookup library, long capacity, int order) {
        this(library, capacity, order, 8);
    }

    /** The same, with this major number of its compute capability: kernels differ by it. */
    public EmulatedDriver(SymbolLookup library, long capacity, int order, int computeMajor) {
        this.library = library;
        this.computeMajor = computeMajor;
        this.capacity = capacity;
        Linker linker = Linker.nativeLinker();
        FunctionDescriptor launch = FunctionDescriptor.of(
                ValueLayout.ADDRESS, ValueLayout.ADDRESS, ValueLayout.JAVA_LONG, ValueLayout.ADDRESS);
        this.launcher = linker.downcallHandle(launch);
        this.take =
                linker.downcallHandle(library.findOrThrow("cuemu_allocate"), FunctionDescriptor.of(ADDRESS, ADDRESS));
        this.release = linker.downcallHandle(library.findOrThrow("cuemu_free"), FunctionDescriptor.ofVoid(ADDRESS));
        call(
                linker.downcallHandle(
                        library.findOrThrow("cuemu_order"), FunctionDescriptor.ofVoid(ValueLayout.JAVA_INT)),
                order);
    }

    /** The code this driver takes: names of units. */
    public static CodeSource code() {
        return new CodeSource() {
            @Override
            public byte[] image(String unit) {
                return unit.getBytes(StandardCharsets.UTF_8);
            }

            @Override
            public String name() {
                return "emulated";
            }
        };
    }

    /** How many kernels have been launched. */
    public long launches() {
        return launches;
    }

    /** Bytes of device memory in use. */
    public long used() {
        return used;
    }

    private static Object call(MethodHandle handle, Object... arguments) {
        try {
            return handle.invokeWithArguments(arguments);
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    private static CudaException invalid(String function, String why) {
        return CudaException.of(function, INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", why);
    }

    private static MemorySegment memory(long address, long bytes) {
        return MemorySegment.ofAddress(address).reinterpret(bytes);
    }

    @Override
    public String binding() {
        return "emulated";
    }

    @Override
    public void init() {}

    @Override
    public int driverVersion() {
        return 13000;
    }

    @Override
    public int deviceCount() {
        return 1;
    }

    @Override
    public String deviceName(int device) {
        return "emulated card";
    }

    @Override
    public long totalMemory(int device) {
        return capacity;
    }

    @Override
    public int attribute(int device, Attribute attribute) {
        return switch (attribute) {
            case COMPUTE_MAJOR -> computeMajor;
            case COMPUTE_MINOR -> 0;
            case MULTIPROCESSORS -> 4;
            case SHARED_BYTES_PER_BLOCK -> MOST_SHARED_BYTES;
            default -> 0;
        };
    }

    @Override
    public long retainPrimaryContext(int device) {
        return 1;
    }

    @Override
    public void releasePrimaryContext(int device) {}

    @Override
    public void setCurrent(long context) {}

    @Override
    public MemoryInfo memoryInfo() {
        return new MemoryInfo(capacity - used, capacity);
    }

    @Override
    public long allocate(long bytes) {
        if (bytes <= 0) {
            throw invalid("cuMemAlloc", bytes + " bytes");
        }
        if (used + bytes > capacity) {
            throw CudaException.of("cuMemAlloc", OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory");
        }
        long address = (long) call(take, bytes);
        if (address == 0) {
            throw new OutOfMemoryError("the emulated card");
        }
        memory(address, bytes).fill((byte) 0xff);
        allocated.put(address, bytes);
        used += bytes;
        return address;
    }

    @Override
    public void free(long address) {
        Long bytes = allocated.remove(address);
        if (bytes == null) {
            throw invalid("cuMemFree", "not allocated, or freed twice");
        }
        used -= bytes;
        call(release, address);
    }

    @Override
    public MemorySegment allocateHost(long bytes) {
        return memory(allocate(bytes), bytes);
    }

    @Override
    public void freeHost(MemorySegment memory) {
        free(memory.address());
    }

    @Override
    public void copyToDevice(long target, MemorySegment source, long stream) {
        MemorySegment.copy(source, 0, memory(target, source.byteSize()), 0, source.byteSize());
    }

    @Override
    public void copyToHost(MemorySegment target, long source, long stream) {
        MemorySegment.copy(memory(source, target.byteSize()), 0, target, 0, target.byteSize());
    }

    @Override
    public void copyOnDevice(long target, long source, long bytes, long stream) {
        MemorySegment.copy(memory(source, bytes), 0, memory(target, bytes), 0, bytes);
    }

    @Override
    public void fill(long target, byte value, long bytes, long stream) {
        memory(target, bytes).fill(value);
    }

    @Override
    public long loadModule(byte[] image) {
        return 1;
    }

    @Override
    public void unloadModule(long module) {}

    @Override
    public long function(long module, String name) {
        long handle = functions.size() + 1L;
        MemorySegment code = library.find(name + "__launch")
                .orElseThrow(() -> CudaException.of(
                        "cuModuleGetFunction", 500, "CUDA_ERROR_NOT_FOUND", "named symbol not found", "name", name));
        functions.put(handle, new Kernel(name, code));
        return handle;
    }

    @Override
    public void allowSharedMemory(long function, int bytes) {
        if (bytes > MOST_SHARED_BYTES) {
            throw invalid("cuFuncSetAttribute", bytes + " bytes of shared memory");
        }
        allowedShared.put(function, bytes);
    }

    @Override
    public void launch(long function, Shape shape, long stream, MemorySegment arguments) {
        Kernel kernel = functions.get(function);
        int shared = allowedShared.getOrDefault(function, MOST_SHARED_WITHOUT_ASKING);
        if (shape.blocksX() <= 0
                || shape.blocksY() <= 0
                || shape.blocksY() > MOST_BLOCKS_YZ
                || shape.blocksZ() <= 0
                || shape.blocksZ() > MOST_BLOCKS_YZ
                || shape.threads() <= 0
                || shape.threads() > MOST_THREADS
                || shape.sharedBytes() > shared) {
            throw invalid("cuLaunchKernel", kernel.name + " with " + shape);
        }
        launches++;
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment extent = arena.allocateFrom(
                    ValueLayout.JAVA_INT, shape.blocksX(), shape.blocksY(), shape.blocksZ(), shape.threads(), 1, 1);
            MemorySegment error =
                    (MemorySegment) call(launcher, kernel.code, extent, (long) shape.sharedBytes(), arguments);
            if (error.address() != 0) {
                String why = error.reinterpret(Long.MAX_VALUE).getString(0);
                throw CudaException.of(
                        "cuLaunchKernel", LAUNCH_FAILED, "CUDA_ERROR_LAUNCH_FAILED", kernel.name + ", " + why);
            }
        }
    }

    @Override
    public long createStream() {
        return 1;
    }

    @Override
    public void destroyStream(long stream) {}

    @Override
    public void synchronizeStream(long stream) {}

    @Override
    public void waitForEvent(long stream, long event) {}

    @Override
    public long createEvent(boolean timing) {
        return 1;
    }

    @Override
    public void destroyEvent(long event) {}

    @Override
    public void recordEvent(long event, long stream) {}

    @Override
    public void synchronizeEvent(long event) {}

    @Override
    public float elapsedMillis(long start, long end) {
        return 0;
    }
}
