package io.qlora.cuda;

import io.qlora.cuda.compile.CardCode;
import io.qlora.cuda.driver.Attribute;
import io.qlora.cuda.driver.CudaBinding;
import io.qlora.cuda.driver.CudaDriver;
import io.qlora.cuda.driver.CudaException;
import io.qlora.cuda.driver.CudaProbe;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.DeviceArena;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.Map;

/**
 * A card: memory, and kernels on one stream, in the order they are launched. It belongs to the thread that opened it.
 * Launches return before they are done; {@link #read}, {@link #write} and {@link #finish} wait.
 */
public final class CudaDevice extends Device {

    /**
     * How a device is used.
     *
     * @param stagingBytes size of each of the two pinned buffers that copies go through
     * @param checkEveryLaunch wait after every kernel, so that one that fails is named: slow, to find a fault
     */
    public record Options(long stagingBytes, boolean checkEveryLaunch) {

        /** Two buffers of 8 MiB; {@code -Dqlora.cuda.check=true} checks every launch. */
        public static final Options DEFAULT = new Options(8L << 20, Boolean.getBoolean("qlora.cuda.check"));
    }

    private final CudaDriver driver;
    private final int ordinal;
    private final CodeSource code;
    private final Options options;
    private final Thread owner = Thread.currentThread();
    private final Arena arena = Arena.ofShared();
    private final Arguments arguments = new Arguments(arena);
    private final Map<String, Long> modules = new HashMap<>();
    private final int multiprocessors;
    private final long stream;
    private final Staging staging;

    private CudaDevice(CudaDriver driver, int ordinal, CodeSource code, Options options) {
        this.driver = driver;
        this.ordinal = ordinal;
        this.code = code;
        this.options = options;
        driver.setCurrent(driver.retainPrimaryContext(ordinal));
        this.multiprocessors = driver.attribute(ordinal, Attribute.MULTIPROCESSORS);
        this.stream = driver.createStream();
        this.staging = new Staging(driver, stream, options.stagingBytes);
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
     * @throws CudaException if the binding's library cannot be loaded, or CUDA refuses
     * @throws IllegalStateException if the card is too old, or there is no code for it
     */
    public static CudaDevice open(CudaBinding binding, int ordinal) {
        CudaDriver driver = binding.open();
        int capability = 10 * driver.attribute(ordinal, Attribute.COMPUTE_MAJOR)
                + driver.attribute(ordinal, Attribute.COMPUTE_MINOR);
        if (capability < CudaProbe.OLDEST_CAPABILITY) {
            throw new IllegalStateException("cuda:" + ordinal + " is a " + driver.deviceName(ordinal) + ", sm_"
                    + capability + ": sm_" + CudaProbe.OLDEST_CAPABILITY + " (Ampere) is the oldest that will do");
        }
        return open(driver, ordinal, CardCode.of(capability), Options.DEFAULT);
    }

    /** What runs where, for a report: {@code cuda:0, NVIDIA H200, panama, kernels embedded}. */
    public String description() {
        return name() + ", " + driver.deviceName(ordinal) + ", " + driver.binding() + ", kernels " + code.name();
    }

    /** What calls go through. */
    public CudaDriver driver() {
        return driver;
    }

    /** The stream everything runs on. */
    public long stream() {
        return stream;
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
        return modules.computeIfAbsent(unit, name -> driver.loadModule(code.image(name)));
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
        MemorySegment written = arguments.write(kernelArguments);
        driver.launch(function.handle(shape.sharedBytes()), shape, stream, written);
        if (options.checkEveryLaunch) {
            check(function, shape);
        }
    }

    private void check(CudaFunction function, CudaDriver.Shape shape) {
        try {
            finish();
        } catch (CudaException e) {
            throw new IllegalStateException("the kernel " + function + " failed, " + shape + ": " + e.getMessage(), e);
        }
    }

    /** Waits for everything that was begun. */
    public void finish() {
        driver.synchronizeStream(stream);
    }

    void requireOwner() {
        if (Thread.currentThread() != owner) {
            throw new IllegalStateException(name() + " belongs to the thread " + owner.getName() + ", "
                    + Thread.currentThread().getName() + " must not use it");
        }
    }

    @Override
    public DeviceArena newArena() {
        return new CudaMemory(this);
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
        finish();
    }

    @Override
    public void copy(Tensor source, Tensor target) {
        requireOwner();
        if (source.byteSize() > 0) {
            driver.copyOnDevice(Arguments.address(target), Arguments.address(source), source.byteSize(), stream);
        }
    }

    @Override
    public void zero(Tensor target) {
        requireOwner();
        if (target.byteSize() > 0) {
            driver.fill(Arguments.address(target), (byte) 0, target.byteSize(), stream);
        }
    }

    @Override
    public void close() {
        finish();
        staging.close();
        modules.values().forEach(driver::unloadModule);
        driver.destroyStream(stream);
        driver.releasePrimaryContext(ordinal);
        arena.close();
        super.close();
    }
}
