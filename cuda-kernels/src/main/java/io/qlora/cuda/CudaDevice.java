package io.qlora.cuda;

import io.qlora.cuda.blas.Blas;
import io.qlora.cuda.compile.CardCode;
import io.qlora.cuda.driver.Attribute;
import io.qlora.cuda.driver.CudaBinding;
import io.qlora.cuda.driver.CudaDriver;
import io.qlora.cuda.driver.CudaException;
import io.qlora.cuda.driver.NativeLibrary;
import io.qlora.cuda.kernels.CudaMatMul;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.DeviceArena;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Function;

/**
 * A card: memory, and kernels on one stream, in the order they are launched. It belongs to the thread that opened it.
 * Launches return before they are done, and so do copies; {@link #read} and {@link #finish} wait.
 */
public final class CudaDevice extends Device {

    /**
     * How a device is used.
     *
     * @param stagingBytes size of each of the two pinned buffers that copies go through
     * @param checkEveryLaunch wait after every kernel, so that one that fails is named: slow, to find a fault
     * @param blas whose dense products are used beside this project's own
     * @param activations BF16, or F32 to compare with a processor
     */
    public record Options(long stagingBytes, boolean checkEveryLaunch, Blas blas, DType activations) {

        /** Two buffers of 8 MiB; {@code -Dqlora.cuda.check=true} checks every launch; the library that is there. */
        public static final Options DEFAULT = new Options(8L << 20, Boolean.getBoolean("qlora.cuda.check"), Blas.AUTO);

        public Options {
            Shapes.require(
                    activations == DType.BF16 || activations == DType.F32,
                    "CudaDevice",
                    "activations",
                    activations,
                    "BF16 or F32");
        }

        /** With activations in bfloat16. */
        public Options(long stagingBytes, boolean checkEveryLaunch, Blas blas) {
            this(stagingBytes, checkEveryLaunch, blas, DType.BF16);
        }

        /** With activations in bfloat16, and this project's own products alone. */
        public Options(long stagingBytes, boolean checkEveryLaunch) {
            this(stagingBytes, checkEveryLaunch, Blas.NONE);
        }

        /** These with activations of another type. */
        public Options withActivations(DType dtype) {
            return new Options(stagingBytes, checkEveryLaunch, blas, dtype);
        }
    }

    private static final double GIB = 1L << 30;
    private static final int HOPPER = 9; // compute capability's major number

    /** Rows of a 128,256-token head's logits enough for its product to be bound by arithmetic, in bfloat16. */
    private static final long PIECE_BYTES = 256L << 20;

    private final CudaDriver driver;
    private final int ordinal;
    private CodeSource code;
    private final Options options;
    private final Thread owner = Thread.currentThread();
    private final Arena arena = Arena.ofShared();
    private final Arguments arguments = new Arguments(arena);
    private final Map<String, Long> modules = new HashMap<>();
    private final Map<Class<?>, AutoCloseable> shared = new LinkedHashMap<>();
    private final String cardName;
    private final int multiprocessors;
    private final long stream;
    private final Staging staging;
    private final Sidestream sidestream;
    private final CudaMemory kept = new CudaMemory(this);
    private final AtomicLong launches = new AtomicLong();
    private volatile String unfinished;

    private CudaDevice(CudaDriver driver, int ordinal, CodeSource code, Options options) {
        this.driver = driver;
        this.ordinal = ordinal;
        this.code = code;
        this.options = options;
        this.cardName = driver.deviceName(ordinal);
        driver.setCurrent(driver.retainPrimaryContext(ordinal));
        this.multiprocessors = driver.attribute(ordinal, Attribute.MULTIPROCESSORS);
        this.stream = driver.createStream();
        this.staging = new Staging(driver, stream, options.stagingBytes);
        this.sidestream = new Sidestream(driver, stream);
    }

    /**
     * Opens a card for the calling thread.
     *
     * @param driver initialised; the device does not close it
     */
    public static CudaDevice open(CudaDriver driver, int ordinal, CodeSource code, Options options) {
        return new CudaDevice(driver, ordinal, code, options);
    }

    /**
     * Opens a card for the calling thread, with the code that fits it.
     *
     * @param binding how to call CUDA
     * @param ordinal the card, from 0
     * @throws IllegalStateException in one sentence, if there is no such card that can be used, the binding's library cannot
     *     be loaded, or there is no code for the card
     */
    public static CudaDevice open(CudaBinding binding, int ordinal) {
        CudaDriver driver = binding.open(ordinal);
        int capability = 10 * driver.attribute(ordinal, Attribute.COMPUTE_MAJOR)
                + driver.attribute(ordinal, Attribute.COMPUTE_MINOR);
        return open(driver, ordinal, CardCode.of(capability), Options.DEFAULT);
    }

    /** What runs where, for a report: {@code cuda:0, NVIDIA H200, panama, kernels embedded}. */
    public String description() {
        return name() + ", " + cardName + ", " + driver.binding() + ", kernels " + code.name();
    }

    /** The card's own name: {@code NVIDIA H200}. */
    public String cardName() {
        return cardName;
    }

    /** The card, from 0. */
    public int ordinal() {
        return ordinal;
    }

    /** Where this device's machine code comes from. */
    public CodeSource code() {
        return code;
    }

    /** How this device is used. */
    public Options options() {
        return options;
    }

    /** Memory as long as the device. */
    public DeviceArena kept() {
        return kept;
    }

    /** What several kernels of this device use together: made on the first call, closed with the device. */
    public <T extends AutoCloseable> T shared(Class<T> type, Function<CudaDevice, T> make) {
        requireOwner();
        T there = type.cast(shared.get(type));
        if (there == null) {
            there = make.apply(this);
            shared.put(type, there);
        }
        return there;
    }

    @Override
    public List<String> report() {
        CudaMatMul products = CudaMatMul.of(this);
        String vendor = products.vendor();
        CudaDriver.MemoryInfo memory = driver.memoryInfo();
        int version = driver.driverVersion();
        List<String> lines = new ArrayList<>();
        lines.add(description() + ", " + (vendor == null ? "own products" : vendor));
        lines.add(String.format(
                Locale.ROOT,
                "driver for CUDA %d.%d, %d multiprocessors, %.1f of %.1f GiB free",
                version / 1000,
                version % 1000 / 10,
                multiprocessors,
                memory.free() / GIB,
                memory.total() / GIB));
        lines.add("NVRTC: " + NativeLibrary.NVRTC.description());
        lines.add("products: " + products.products());
        products.routes().lines().forEach(lines::add);
        return List.copyOf(lines);
    }

    /** What calls go through. */
    public CudaDriver driver() {
        return driver;
    }

    /** The stream everything runs on. */
    public long stream() {
        return stream;
    }

    /** Whether kernels may use {@code wgmma}: on Hopper cards, unless {@code -Dqlora.cuda.wgmma=false} says otherwise. */
    public boolean warpgroups() {
        return hopper() && !"false".equals(System.getProperty("qlora.cuda.wgmma"));
    }

    /** Whether this is a Hopper card. */
    public boolean hopper() {
        return driver.attribute(ordinal, Attribute.COMPUTE_MAJOR) == HOPPER;
    }

    /** Number of multiprocessors. */
    public int multiprocessors() {
        return multiprocessors;
    }

    @Override
    public String name() {
        return "cuda:" + ordinal;
    }

    /** A kernel by its unit, a {@code .cu} file's name, and its own. */
    public CudaFunction function(String unit, String name) {
        return new CudaFunction(this, unit, name);
    }

    /** The module of a unit, loaded on the first call. */
    long module(String unit) {
        return modules.computeIfAbsent(unit, this::load);
    }

    private long load(String unit) {
        try {
            return driver.loadModule(code.image(unit));
        } catch (CudaException e) {
            if (!e.codeRefused()) {
                throw e;
            }
            code = code.instead(e);
            return driver.loadModule(code.image(unit));
        }
    }

    /**
     * Begins a kernel; a grid without blocks is none.
     *
     * @throws CudaException if it cannot be begun, or if an earlier one has failed; naming this one if every launch is checked
     */
    public void launch(CudaFunction function, CudaDriver.Shape shape, KernelArguments kernelArguments) {
        requireOwner();
        if (shape.blocksX() == 0 || shape.blocksY() == 0 || shape.blocksZ() == 0) {
            return;
        }
        launches.lazySet(launches.getPlain() + 1); // this thread's alone
        MemorySegment written = arguments.write(kernelArguments);
        driver.launch(function.handle(shape.sharedBytes()), shape, stream, written);
        if (options.checkEveryLaunch) {
            check(function, shape);
        }
    }

    private void check(CudaFunction function, CudaDriver.Shape shape) {
        try {
            unfinished = function.toString();
            finish();
            unfinished = null;
        } catch (CudaException e) {
            throw new IllegalStateException("the kernel " + function + " failed, " + shape + ": " + e.getMessage(), e);
        }
    }

    /** Kernels begun until now; for a thread that watches this one. */
    public long launches() {
        return launches.get();
    }

    /** The kernel that is waited for where every launch is checked, or null; for a thread that watches this one. */
    public String unfinished() {
        return unfinished;
    }

    /** Waits for everything that was begun. */
    public void finish() {
        sidestream.join();
        driver.synchronizeStream(stream);
    }

    void requireOwner() {
        if (Thread.currentThread() != owner) {
            throw new IllegalStateException(name() + " belongs to the thread " + owner.getName() + ", "
                    + Thread.currentThread().getName() + " must not use it");
        }
    }

    @Override
    public DType activations() {
        return options.activations;
    }

    @Override
    public Optional<Memory> memory() {
        CudaDriver.MemoryInfo info = driver.memoryInfo();
        return Optional.of(new Memory(info.free(), info.total()));
    }

    @Override
    public long pieceBytes() {
        return PIECE_BYTES;
    }

    /** Large enough for what is left over to be little, small enough beside the whole card. */
    @Override
    public long chunkBytes() {
        return Math.clamp(driver.totalMemory(ordinal) / 512, super.chunkBytes(), 256L << 20);
    }

    @Override
    public DeviceArena newArena() {
        return new CudaMemory(this);
    }

    @Override
    public long decodingBytes(long largest) {
        return CudaMatMul.decodingBytes(largest);
    }

    @Override
    public DeviceArena newHostArena() {
        return new PinnedMemory(this);
    }

    @Override
    public void read(Tensor source, MemorySegment target) {
        requireOwner();
        staging.read(Arguments.address(source), target.asSlice(0, source.byteSize()));
    }

    @Override
    public void write(MemorySegment source, Tensor target) {
        requireOwner();
        staging.write(source.asSlice(0, target.byteSize()), Arguments.address(target));
    }

    @Override
    public void copy(Tensor source, Tensor target) {
        requireOwner();
        if (source.byteSize() > 0) {
            driver.copyOnDevice(Arguments.address(target), Arguments.address(source), source.byteSize(), stream);
        }
    }

    @Override
    public void copyBeside(Tensor source, Tensor target) {
        requireOwner();
        sidestream.copy(source, target);
    }

    @Override
    public void awaitCopies() {
        requireOwner();
        sidestream.join();
    }

    @Override
    public void zero(Tensor target) {
        requireOwner();
        if (target.byteSize() > 0) {
            driver.fill(Arguments.address(target), (byte) 0, target.byteSize(), stream);
        }
    }

    private void closeShared() {
        for (AutoCloseable each : shared.values()) {
            try {
                each.close();
            } catch (RuntimeException e) {
                throw e;
            } catch (Exception e) {
                throw new IllegalStateException(name() + " cannot be closed", e);
            }
        }
        shared.clear();
    }

    @Override
    public void close() {
        finish();
        closeShared();
        kept.close();
        sidestream.close();
        staging.close();
        modules.values().forEach(driver::unloadModule);
        driver.destroyStream(stream);
        driver.releasePrimaryContext(ordinal);
        arena.close();
        super.close();
    }
}
