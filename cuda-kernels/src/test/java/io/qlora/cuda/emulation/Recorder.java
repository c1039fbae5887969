package io.qlora.cuda.emulation;

import io.qlora.cuda.driver.Attribute;
import io.qlora.cuda.driver.CudaDriver;
import java.lang.foreign.Arena;
import java.lang.reflect.Proxy;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/** Notes which kernels a driver is asked to launch. */
public final class Recorder {

    private static final int MULTIPROCESSORS = 132;
    private static final long CAPACITY = 141L << 30;

    private final Map<Object, String> names = new HashMap<>();
    private final Set<String> launched = new TreeSet<>();
    private final CudaDriver driver;
    private long next = 1L << 40; // addresses, and handles

    private Recorder(CudaDriver real) {
        this.driver =
                real == null ? nothing() : WatchedDriver.of(real, (method, arguments) -> note(real, method, arguments));
    }

    /** Notes what this driver launches. */
    public static Recorder of(CudaDriver driver) {
        return new Recorder(driver);
    }

    /** A card of an H200's size, of which nothing is computed: its memory must not be looked at. */
    public static Recorder large() {
        return new Recorder(null);
    }

    /** To open a device with. */
    public CudaDriver driver() {
        return driver;
    }

    /** The kernels launched until now. */
    public Set<String> launched() {
        return launched;
    }

    private Object note(CudaDriver real, String method, Object[] arguments) {
        if (method.equals("function")) {
            long handle = real.function((long) arguments[0], (String) arguments[1]);
            names.put(handle, (String) arguments[1]);
            return handle;
        }
        if (method.equals("launch")) {
            launched.add(names.get(arguments[0]));
        }
        return null;
    }

    private CudaDriver nothing() {
        Class<?>[] type = {CudaDriver.class};
        return (CudaDriver) Proxy.newProxyInstance(
                type[0].getClassLoader(), type, (proxy, method, arguments) -> answer(method.getName(), arguments));
    }

    private Object answer(String method, Object[] arguments) {
        switch (method) {
            case "binding", "deviceName":
                return "recorder";
            case "driverVersion":
                return 13_000;
            case "attribute":
                return attribute((Attribute) arguments[1]);
            case "totalMemory":
                return CAPACITY;
            case "memoryInfo":
                return new CudaDriver.MemoryInfo(CAPACITY, CAPACITY);
            case "allocate":
                return next += ((long) arguments[0] + 511) / 512 * 512;
            case "allocateHost":
                return Arena.ofAuto().allocate((long) arguments[0]);
            case "retainPrimaryContext", "loadModule", "createStream", "createEvent":
                return next += 512;
            case "function":
                names.put(next += 512, (String) arguments[1]);
                return next;
            case "launch":
                launched.add(names.get(arguments[0]));
                return null;
            default:
                return null;
        }
    }

    private static int attribute(Attribute attribute) {
        return switch (attribute) {
            case COMPUTE_MAJOR -> 9;
            case MULTIPROCESSORS -> MULTIPROCESSORS;
            case SHARED_BYTES_PER_BLOCK -> 227 << 10;
            case L2_CACHE_BYTES -> 60 << 20;
            default -> 0;
        };
    }
}
