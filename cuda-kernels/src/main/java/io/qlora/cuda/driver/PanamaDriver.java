package io.qlora.cuda.driver;

import io.qlora.cuda.jextract.driver.LibCuda;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandle;

/** The driver API by the bindings that jextract generated: nothing but {@code libcuda} is needed. */
final class PanamaDriver implements CudaDriver {

    private static final int EVENT_WITHOUT_TIMING = 2;
    private static final int STREAM_NON_BLOCKING = 1;
    private static final int SHARED_SIZE_ATTRIBUTE = 8;
    private static final int JIT_ERROR_LOG = 5;
    private static final int JIT_ERROR_LOG_BYTES = 6;
    private static final int LOG_BYTES = 16 << 10;

    /** The first version of this function; the second came only with CUDA 12.8. */
    private static final class Elapsed {
        static final MethodHandle HANDLE = Linker.nativeLinker()
                .downcallHandle(
                        NativeLibrary.CUDA.findOrThrow("cuEventElapsedTime"),
                        FunctionDescriptor.of(
                                ValueLayout.JAVA_INT,
                                ValueLayout.ADDRESS,
                                ValueLayout.JAVA_LONG,
                                ValueLayout.JAVA_LONG));
    }

    /** {@code cuGetErrorName} and {@code cuGetErrorString}. */
    @FunctionalInterface
    private interface Describe {
        int call(int code, MemorySegment text);
    }

    @Override
    public String binding() {
        return "panama";
    }

    @Override
    public void init() {
        if (!NativeLibrary.CUDA.available()) { // a binding whose function was missed once only says so the first time
            throw new CudaException("cuInit", NativeLibrary.CUDA.description());
        }
        check(LibCuda.cuInit(0), "cuInit");
    }

    @Override
    public int driverVersion() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment version = arena.allocate(ValueLayout.JAVA_INT);
            check(LibCuda.cuDriverGetVersion(version), "cuDriverGetVersion");
            return version.get(ValueLayout.JAVA_INT, 0);
        }
    }

    @Override
    public int deviceCount() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment count = arena.allocate(ValueLayout.JAVA_INT);
            check(LibCuda.cuDeviceGetCount(count), "cuDeviceGetCount");
            return count.get(ValueLayout.JAVA_INT, 0);
        }
    }

    @Override
    public String deviceName(int device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment name = arena.allocate(256);
            check(LibCuda.cuDeviceGetName(name, 256, handle(device)), "cuDeviceGetName", "device", device);
            return name.getString(0);
        }
    }

    @Override
    public long totalMemory(int device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment bytes = arena.allocate(ValueLayout.JAVA_LONG);
            check(LibCuda.cuDeviceTotalMem_v2(bytes, handle(device)), "cuDeviceTotalMem", "device", device);
            return bytes.get(ValueLayout.JAVA_LONG, 0);
        }
    }

    @Override
    public int attribute(int device, Attribute attribute) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment value = arena.allocate(ValueLayout.JAVA_INT);
            int code = LibCuda.cuDeviceGetAttribute(value, attribute.number(), handle(device));
            check(code, "cuDeviceGetAttribute", "attribute", attribute, "device", device);
            return value.get(ValueLayout.JAVA_INT, 0);
        }
    }

    private int handle(int device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment handle = arena.allocate(ValueLayout.JAVA_INT);
            check(LibCuda.cuDeviceGet(handle, device), "cuDeviceGet", "ordinal", device);
            return handle.get(ValueLayout.JAVA_INT, 0);
        }
    }

    @Override
    public long retainPrimaryContext(int device) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment context = arena.allocate(ValueLayout.ADDRESS);
            int code = LibCuda.cuDevicePrimaryCtxRetain(context, handle(device));
            check(code, "cuDevicePrimaryCtxRetain", "device", device);
            return context.get(ValueLayout.JAVA_LONG, 0);
        }
    }

    @Override
    public void releasePrimaryContext(int device) {
        check(LibCuda.cuDevicePrimaryCtxRelease_v2(handle(device)), "cuDevicePrimaryCtxRelease", "device", device);
    }

    @Override
    public void setCurrent(long context) {
        check(LibCuda.cuCtxSetCurrent(pointer(context)), "cuCtxSetCurrent");
    }

    @Override
    public MemoryInfo memoryInfo() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment info = arena.allocate(ValueLayout.JAVA_LONG, 2);
            check(LibCuda.cuMemGetInfo_v2(info, info.asSlice(8)), "cuMemGetInfo");
            return new MemoryInfo(info.getAtIndex(ValueLayout.JAVA_LONG, 0), info.getAtIndex(ValueLayout.JAVA_LONG, 1));
        }
    }

    @Override
    public long allocate(long bytes) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment address = arena.allocate(ValueLayout.JAVA_LONG);
            check(LibCuda.cuMemAlloc_v2(address, bytes), "cuMemAlloc", "bytes", bytes);
            return address.get(ValueLayout.JAVA_LONG, 0);
        }
    }

    @Override
    public void free(long address) {
        check(LibCuda.cuMemFree_v2(address), "cuMemFree", "address", Long.toHexString(address));
    }

    @Override
    public MemorySegment allocateHost(long bytes) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment address = arena.allocate(ValueLayout.ADDRESS);
            check(LibCuda.cuMemHostAlloc(address, bytes, 0), "cuMemHostAlloc", "bytes", bytes);
            return address.get(ValueLayout.ADDRESS, 0).reinterpret(bytes);
        }
    }

    @Override
    public void freeHost(MemorySegment memory) {
        check(LibCuda.cuMemFreeHost(memory), "cuMemFreeHost", "bytes", memory.byteSize());
    }

    @Override
    public void copyToDevice(long target, MemorySegment source, long stream) {
        int code = LibCuda.cuMemcpyHtoDAsync_v2(target, source, source.byteSize(), pointer(stream));
        check(code, "cuMemcpyHtoDAsync", "target", Long.toHexString(target), "bytes", source.byteSize());
    }

    @Override
    public void copyToHost(MemorySegment target, long source, long stream) {
        int code = LibCuda.cuMemcpyDtoHAsync_v2(target, source, target.byteSize(), pointer(stream));
        check(code, "cuMemcpyDtoHAsync", "source", Long.toHexString(source), "bytes", target.byteSize());
    }

    @Override
    public void copyOnDevice(long target, long source, long bytes, long stream) {
        int code = LibCuda.cuMemcpyDtoDAsync_v2(target, source, bytes, pointer(stream));
        check(code, "cuMemcpyDtoDAsync", "target", Long.toHexString(target), "bytes", bytes);
    }

    @Override
    public void fill(long target, byte value, long bytes, long stream) {
        int code = LibCuda.cuMemsetD8Async(target, value, bytes, pointer(stream));
        check(code, "cuMemsetD8Async", "target", Long.toHexString(target), "bytes", bytes);
    }

    @Override
    public long loadModule(byte[] image) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment code = arena.allocate(image.length + 1L, 16); // PTX is text and ends with a zero
            MemorySegment.copy(image, 0, code, ValueLayout.JAVA_BYTE, 0, image.length);
            MemorySegment log = arena.allocate(LOG_BYTES);
            MemorySegment options = arena.allocateFrom(ValueLayout.JAVA_INT, JIT_ERROR_LOG, JIT_ERROR_LOG_BYTES);
            MemorySegment values = arena.allocateFrom(ValueLayout.JAVA_LONG, log.address(), LOG_BYTES);
            MemorySegment module = arena.allocate(ValueLayout.ADDRESS);
            int result = LibCuda.cuModuleLoadDataEx(module, code, 2, options, values);
            if (result != 0) {
                String said = log.getString(0).strip();
                throw said.isEmpty()
                        ? failure(result, "cuModuleLoadDataEx", "bytes", image.length)
                        : failure(result, "cuModuleLoadDataEx", "bytes", image.length, "compiler", said);
            }
            return module.get(ValueLayout.JAVA_LONG, 0);
        }
    }

    @Override
    public void unloadModule(long module) {
        check(LibCuda.cuModuleUnload(pointer(module)), "cuModuleUnload");
    }

    @Override
    public long function(long module, String name) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment function = arena.allocate(ValueLayout.ADDRESS);
            int code = LibCuda.cuModuleGetFunction(function, pointer(module), arena.allocateFrom(name));
            check(code, "cuModuleGetFunction", "name", name);
            return function.get(ValueLayout.JAVA_LONG, 0);
        }
    }

    @Override
    public void allowSharedMemory(long function, int bytes) {
        int code = LibCuda.cuFuncSetAttribute(pointer(function), SHARED_SIZE_ATTRIBUTE, bytes);
        check(code, "cuFuncSetAttribute", "shared bytes", bytes);
    }

    @Override
    public void launch(long function, Shape shape, long stream, MemorySegment arguments) {
        int code = LibCuda.cuLaunchKernel(
                pointer(function),
                shape.blocksX(),
                shape.blocksY(),
                shape.blocksZ(),
                shape.threads(),
                1,
                1,
                shape.sharedBytes(),
                pointer(stream),
                arguments,
                MemorySegment.NULL);
        if (code != 0) {
            throw failure(code, "cuLaunchKernel", "shape", shape);
        }
    }

    @Override
    public long createStream() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment stream = arena.allocate(ValueLayout.ADDRESS);
            check(LibCuda.cuStreamCreate(stream, STREAM_NON_BLOCKING), "cuStreamCreate");
            return stream.get(ValueLayout.JAVA_LONG, 0);
        }
    }

    @Override
    public void destroyStream(long stream) {
        check(LibCuda.cuStreamDestroy_v2(pointer(stream)), "cuStreamDestroy");
    }

    @Override
    public void synchronizeStream(long stream) {
        check(LibCuda.cuStreamSynchronize(pointer(stream)), "cuStreamSynchronize");
    }

    @Override
    public void waitForEvent(long stream, long event) {
        check(LibCuda.cuStreamWaitEvent(pointer(stream), pointer(event), 0), "cuStreamWaitEvent");
    }

    @Override
    public long createEvent(boolean timing) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment event = arena.allocate(ValueLayout.ADDRESS);
            check(LibCuda.cuEventCreate(event, timing ? 0 : EVENT_WITHOUT_TIMING), "cuEventCreate");
            return event.get(ValueLayout.JAVA_LONG, 0);
        }
    }

    @Override
    public void destroyEvent(long event) {
        check(LibCuda.cuEventDestroy_v2(pointer(event)), "cuEventDestroy");
    }

    @Override
    public void recordEvent(long event, long stream) {
        check(LibCuda.cuEventRecord(pointer(event), pointer(stream)), "cuEventRecord");
    }

    @Override
    public void synchronizeEvent(long event) {
        check(LibCuda.cuEventSynchronize(pointer(event)), "cuEventSynchronize");
    }

    @Override
    public float elapsedMillis(long start, long end) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment millis = arena.allocate(ValueLayout.JAVA_FLOAT);
            check((int) Elapsed.HANDLE.invokeExact(millis, start, end), "cuEventElapsedTime");
            return millis.get(ValueLayout.JAVA_FLOAT, 0);
        } catch (RuntimeException | Error e) {
            throw e;
        } catch (Throwable e) {
            throw new AssertionError(e); // a call into C throws nothing
        }
    }

    private static MemorySegment pointer(long handle) {
        return MemorySegment.ofAddress(handle);
    }

    private static void check(int code, String function, Object... arguments) {
        if (code != 0) {
            throw failure(code, function, arguments);
        }
    }

    private static CudaException failure(int code, String function, Object... arguments) {
        String name = describe(LibCuda::cuGetErrorName, code);
        String text = describe(LibCuda::cuGetErrorString, code);
        return CudaException.of(function, code, name, text, arguments);
    }

    private static String describe(Describe describe, int code) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment text = arena.allocate(ValueLayout.ADDRESS);
            boolean known = describe.call(code, text) == 0;
            MemorySegment said = text.get(ValueLayout.ADDRESS, 0);
            return known && said.address() != 0
                    ? said.reinterpret(Long.MAX_VALUE).getString(0)
                    : "an unknown error";
        }
    }
}
