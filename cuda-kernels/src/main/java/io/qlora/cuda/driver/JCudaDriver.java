package io.qlora.cuda.driver;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import jcuda.Pointer;
import jcuda.driver.CUcontext;
import jcuda.driver.CUdevice;
import jcuda.driver.CUdeviceptr;
import jcuda.driver.CUevent;
import jcuda.driver.CUfunction;
import jcuda.driver.CUmodule;
import jcuda.driver.CUstream;

/**
 * The driver API by JCuda, on the JNI side of which handles are objects: those made here are kept by their numbers. Must
 * not be touched where JCuda's jar is missing; its constructor loads the native library.
 */
final class JCudaDriver implements CudaDriver {

    private static final int EVENT_WITHOUT_TIMING = 2;
    private static final int STREAM_NON_BLOCKING = 1;
    private static final int SHARED_SIZE_ATTRIBUTE = 8;

    /** Host memory, or a block of arguments, by its address. */
    private static final class Host extends Pointer {
        Host() {}

        Host(MemorySegment memory) {
            super(memory.address());
        }

        long address() {
            return getNativePointer();
        }
    }

    /** Device memory by its address. */
    private static final class Address extends CUdeviceptr {
        Address() {}

        Address(long address) {
            super(new CUdeviceptr(), address);
        }

        long value() {
            return getNativePointer();
        }
    }

    private static final class Context extends CUcontext {
        long handle() {
            return getNativePointer();
        }
    }

    private static final class Module extends CUmodule {
        long handle() {
            return getNativePointer();
        }
    }

    private static final class Function extends CUfunction {
        long handle() {
            return getNativePointer();
        }
    }

    private static final class Stream extends CUstream {
        long handle() {
            return getNativePointer();
        }
    }

    private static final class Event extends CUevent {
        long handle() {
            return getNativePointer();
        }
    }

    private final Map<Long, CUcontext> contexts = new HashMap<>();
    private final Map<Long, CUmodule> modules = new HashMap<>();
    private final Map<Long, CUfunction> functions = new HashMap<>();
    private final Map<Long, CUstream> streams = new HashMap<>();
    private final Map<Long, CUevent> events = new HashMap<>();

    /** Loads JCuda's native library. */
    JCudaDriver() {
        jcuda.driver.JCudaDriver.setExceptionsEnabled(false);
        streams.put(DEFAULT_STREAM, new CUstream());
    }

    @Override
    public String binding() {
        return "jcuda";
    }

    @Override
    public void init() {
        check(jcuda.driver.JCudaDriver.cuInit(0), "cuInit");
    }

    @Override
    public int driverVersion() {
        int[] version = new int[1];
        check(jcuda.driver.JCudaDriver.cuDriverGetVersion(version), "cuDriverGetVersion");
        return version[0];
    }

    @Override
    public int deviceCount() {
        int[] count = new int[1];
        check(jcuda.driver.JCudaDriver.cuDeviceGetCount(count), "cuDeviceGetCount");
        return count[0];
    }

    @Override
    public String deviceName(int device) {
        byte[] name = new byte[256];
        int code = jcuda.driver.JCudaDriver.cuDeviceGetName(name, name.length, handle(device));
        check(code, "cuDeviceGetName", "device", device);
        return MemorySegment.ofArray(name).getString(0);
    }

    @Override
    public long totalMemory(int device) {
        long[] bytes = new long[1];
        check(jcuda.driver.JCudaDriver.cuDeviceTotalMem(bytes, handle(device)), "cuDeviceTotalMem", "device", device);
        return bytes[0];
    }

    @Override
    public int attribute(int device, Attribute attribute) {
        int[] value = new int[1];
        int code = jcuda.driver.JCudaDriver.cuDeviceGetAttribute(value, attribute.number(), handle(device));
        check(code, "cuDeviceGetAttribute", "attribute", attribute, "device", device);
        return value[0];
    }

    private static CUdevice handle(int device) {
        CUdevice handle = new CUdevice();
        check(jcuda.driver.JCudaDriver.cuDeviceGet(handle, device), "cuDeviceGet", "ordinal", device);
        return handle;
    }

    @Override
    public long retainPrimaryContext(int device) {
        Context context = new Context();
        int code = jcuda.driver.JCudaDriver.cuDevicePrimaryCtxRetain(context, handle(device));
        check(code, "cuDevicePrimaryCtxRetain", "device", device);
        contexts.put(context.handle(), context);
        return context.handle();
    }

    @Override
    public void releasePrimaryContext(int device) {
        int code = jcuda.driver.JCudaDriver.cuDevicePrimaryCtxRelease(handle(device));
        check(code, "cuDevicePrimaryCtxRelease", "device", device);
    }

    @Override
    public void setCurrent(long context) {
        check(jcuda.driver.JCudaDriver.cuCtxSetCurrent(contexts.get(context)), "cuCtxSetCurrent");
    }

    @Override
    public MemoryInfo memoryInfo() {
        long[] free = new long[1];
        long[] total = new long[1];
        check(jcuda.driver.JCudaDriver.cuMemGetInfo(free, total), "cuMemGetInfo");
        return new MemoryInfo(free[0], total[0]);
    }

    @Override
    public long allocate(long bytes) {
        Address address = new Address();
        check(jcuda.driver.JCudaDriver.cuMemAlloc(address, bytes), "cuMemAlloc", "bytes", bytes);
        return address.value();
    }

    @Override
    public void free(long address) {
        check(
                jcuda.driver.JCudaDriver.cuMemFree(new Address(address)),
                "cuMemFree",
                "address",
                Long.toHexString(address));
    }

    @Override
    public MemorySegment allocateHost(long bytes) {
        Host memory = new Host();
        check(jcuda.driver.JCudaDriver.cuMemHostAlloc(memory, bytes, 0), "cuMemHostAlloc", "bytes", bytes);
        return MemorySegment.ofAddress(memory.address()).reinterpret(bytes);
    }

    @Override
    public void freeHost(MemorySegment memory) {
        check(jcuda.driver.JCudaDriver.cuMemFreeHost(new Host(memory)), "cuMemFreeHost", "bytes", memory.byteSize());
    }

    @Override
    public void copyToDevice(long target, MemorySegment source, long stream) {
        int code = jcuda.driver.JCudaDriver.cuMemcpyHtoDAsync(
                new Address(target), new Host(source), source.byteSize(), streams.get(stream));
        check(code, "cuMemcpyHtoDAsync", "target", Long.toHexString(target), "bytes", source.byteSize());
    }

    @Override
    public void copyToHost(MemorySegment target, long source, long stream) {
        int code = jcuda.driver.JCudaDriver.cuMemcpyDtoHAsync(
                new Host(target), new Address(source), target.byteSize(), streams.get(stream));
        check(code, "cuMemcpyDtoHAsync", "source", Long.toHexString(source), "bytes", target.byteSize());
    }

    @Override
    public void copyOnDevice(long target, long source, long bytes, long stream) {
        int code = jcuda.driver.JCudaDriver.cuMemcpyDtoDAsync(
                new Address(target), new Address(source), bytes, streams.get(stream));
        check(code, "cuMemcpyDtoDAsync", "target", Long.toHexString(target), "bytes", bytes);
    }

    @Override
    public void fill(long target, byte value, long bytes, long stream) {
        int code = jcuda.driver.JCudaDriver.cuMemsetD8Async(new Address(target), value, bytes, streams.get(stream));
        check(code, "cuMemsetD8Async", "target", Long.toHexString(target), "bytes", bytes);
    }

    @Override
    public long loadModule(byte[] image) {
        Module module = new Module();
        byte[] ended = Arrays.copyOf(image, image.length + 1); // PTX is text and ends with a zero
        check(jcuda.driver.JCudaDriver.cuModuleLoadData(module, ended), "cuModuleLoadData", "bytes", image.length);
        modules.put(module.handle(), module);
        return module.handle();
    }

    @Override
    public void unloadModule(long module) {
        check(jcuda.driver.JCudaDriver.cuModuleUnload(modules.remove(module)), "cuModuleUnload");
    }

    @Override
    public long function(long module, String name) {
        Function function = new Function();
        int code = jcuda.driver.JCudaDriver.cuModuleGetFunction(function, modules.get(module), name);
        check(code, "cuModuleGetFunction", "name", name);
        functions.put(function.handle(), function);
        return function.handle();
    }

    @Override
    public void allowSharedMemory(long function, int bytes) {
        int code = jcuda.driver.JCudaDriver.cuFuncSetAttribute(functions.get(function), SHARED_SIZE_ATTRIBUTE, bytes);
        check(code, "cuFuncSetAttribute", "shared bytes", bytes);
    }

    @Override
    public void launch(long function, Shape shape, long stream, MemorySegment arguments) {
        int code = jcuda.driver.JCudaDriver.cuLaunchKernel(
                functions.get(function),
                shape.blocksX(),
                shape.blocksY(),
                shape.blocksZ(),
                shape.threads(),
                1,
                1,
                shape.sharedBytes(),
                streams.get(stream),
                new Host(arguments),
                null);
        if (code != 0) {
            throw failure(code, "cuLaunchKernel", "shape", shape);
        }
    }

    @Override
    public long createStream() {
        Stream stream = new Stream();
        check(jcuda.driver.JCudaDriver.cuStreamCreate(stream, STREAM_NON_BLOCKING), "cuStreamCreate");
        streams.put(stream.handle(), stream);
        return stream.handle();
    }

    @Override
    public void destroyStream(long stream) {
        check(jcuda.driver.JCudaDriver.cuStreamDestroy(streams.remove(stream)), "cuStreamDestroy");
    }

    @Override
    public void synchronizeStream(long stream) {
        check(jcuda.driver.JCudaDriver.cuStreamSynchronize(streams.get(stream)), "cuStreamSynchronize");
    }

    @Override
    public void waitForEvent(long stream, long event) {
        int code = jcuda.driver.JCudaDriver.cuStreamWaitEvent(streams.get(stream), events.get(event), 0);
        check(code, "cuStreamWaitEvent");
    }

    @Override
    public long createEvent(boolean timing) {
        Event event = new Event();
        check(jcuda.driver.JCudaDriver.cuEventCreate(event, timing ? 0 : EVENT_WITHOUT_TIMING), "cuEventCreate");
        events.put(event.handle(), event);
        return event.handle();
    }

    @Override
    public void destroyEvent(long event) {
        check(jcuda.driver.JCudaDriver.cuEventDestroy(events.remove(event)), "cuEventDestroy");
    }

    @Override
    public void recordEvent(long event, long stream) {
        check(jcuda.driver.JCudaDriver.cuEventRecord(events.get(event), streams.get(stream)), "cuEventRecord");
    }

    @Override
    public void synchronizeEvent(long event) {
        check(jcuda.driver.JCudaDriver.cuEventSynchronize(events.get(event)), "cuEventSynchronize");
    }

    @Override
    public float elapsedMillis(long start, long end) {
        float[] millis = new float[1];
        int code = jcuda.driver.JCudaDriver.cuEventElapsedTime(millis, events.get(start), events.get(end));
        check(code, "cuEventElapsedTime");
        return millis[0];
    }

    private static void check(int code, String function, Object... arguments) {
        if (code != 0) {
            throw failure(code, function, arguments);
        }
    }

    private static CudaException failure(int code, String function, Object... arguments) {
        String[] name = {null};
        String[] text = {null};
        jcuda.driver.JCudaDriver.cuGetErrorName(code, name);
        jcuda.driver.JCudaDriver.cuGetErrorString(code, text);
        String unknown = "an unknown error";
        return CudaException.of(
                function, code, name[0] == null ? unknown : name[0], text[0] == null ? unknown : text[0], arguments);
    }
}
