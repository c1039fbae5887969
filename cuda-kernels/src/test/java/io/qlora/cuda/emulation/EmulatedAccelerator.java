package io.qlora.cuda.emulation;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.driver.CudaDriver;
import io.qlora.cuda.driver.CudaException;
import io.qlora.engine.tensor.Accelerator;
import io.qlora.engine.tensor.Device;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;

/** The emulated card as a device like another: {@code --device emulated}, for whoever has the tests of this module. */
public final class EmulatedAccelerator implements Accelerator {

    /** Property: a kernel from whose first launch on another process has all memory that is left, unseen. */
    public static final String FULL = "qlora.emulated.full";

    /** Property: a kernel that fails, after which the card takes nothing more. */
    public static final String LOST = "qlora.emulated.lost";

    private static final int ILLEGAL_ADDRESS = 700;
    private static final long MEMORY = 1L << 30;
    private static final long STAGING = 1L << 20;

    /** As the service loader makes it. */
    public EmulatedAccelerator() {}

    @Override
    public String name() {
        return "emulated";
    }

    @Override
    public String describe() {
        return "a card that is emulated";
    }

    @Override
    public String summary() {
        return "an emulated card";
    }

    @Override
    public List<String> bindings() {
        return List.of("g++");
    }

    @Override
    public Device open(int ordinal, String binding) {
        EmulatedDriver driver = new EmulatedDriver(EmulatedLibrary.load(), MEMORY, 0);
        CudaDevice.Options options = new CudaDevice.Options(STAGING, true);
        CudaDriver faulty = failing(filling(driver, System.getProperty(FULL)), System.getProperty(LOST));
        return CudaDevice.open(faulty, ordinal, EmulatedDriver.code(), options);
    }

    private static CudaDriver filling(EmulatedDriver driver, String kernel) {
        Class<?>[] type = {CudaDriver.class};
        AtomicBoolean full = new AtomicBoolean();
        return (CudaDriver) Proxy.newProxyInstance(type[0].getClassLoader(), type, (proxy, method, arguments) -> {
            if (method.getName().equals("function") && arguments[1].equals(kernel)) {
                full.set(true);
            }
            if (method.getName().equals("allocate") && full.get()) {
                throw CudaException.of(
                        "cuMemAlloc", CudaDriver.OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory");
            }
            try {
                return method.invoke(driver, arguments);
            } catch (InvocationTargetException e) {
                throw e.getCause();
            }
        });
    }

    private static CudaDriver failing(CudaDriver driver, String kernel) {
        AtomicLong handle = new AtomicLong();
        AtomicBoolean lost = new AtomicBoolean();
        return WatchedDriver.of(driver, (method, arguments) -> {
            if (method.equals("function") && arguments[1].equals(kernel)) {
                handle.set(driver.function((long) arguments[0], kernel));
                return handle.get();
            }
            if (method.equals("launch") && arguments[0].equals(handle.get())) {
                lost.set(true);
            }
            if (method.equals("synchronizeStream") && lost.get()) {
                throw CudaException.of(
                        "cuStreamSynchronize", ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal access");
            }
            return null;
        });
    }
}
