package io.qlora.cuda.driver;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.compile.CardCode;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What arrives at the driver's functions through each binding, against a stub of the driver. */
class BindingTest {

    @BeforeEach
    void stub() {
        StubDriver.install();
        StubDriver.fail("", 0);
    }

    /** Opens the binding and gives the calls that {@code body} made, a line each. */
    private static String calls(CudaBinding binding, Consumer<CudaDriver> body) {
        assertTrue(NativeLibrary.CUDA.available()); // before JCuda, which then finds the same library
        try (CudaDriver driver = binding.open()) {
            StubDriver.clear();
            body.accept(driver);
            return StubDriver.log();
        }
    }

    @ParameterizedTest
    @EnumSource
    void aLaunchArrivesWithItsShapeItsStreamAndItsArguments(CudaBinding binding) {
        String calls = calls(binding, driver -> {
            try (Arena arena = Arena.ofConfined()) {
                long function = driver.function(driver.loadModule("code".getBytes(StandardCharsets.UTF_8)), "softmax");
                MemorySegment values = arena.allocate(24, 8);
                values.set(ValueLayout.JAVA_LONG, 0, 0x7123456789abL);
                values.set(ValueLayout.JAVA_INT, 8, -42);
                values.set(ValueLayout.JAVA_FLOAT, 16, 0.5f);
                MemorySegment arguments = arena.allocateFrom(
                        ValueLayout.JAVA_LONG, values.address(), values.address() + 8, values.address() + 16);
                driver.allowSharedMemory(function, 100_000);
                driver.launch(function, new CudaDriver.Shape(7, 8, 9, 256, 100_000), driver.createStream(), arguments);
            }
        });
        assertEquals("""
                cuModuleLoadData(code)
                cuModuleGetFunction(0xd0, softmax)
                cuFuncSetAttribute(0xf0, 8, 100000)
                cuStreamCreate(1)
                cuLaunchKernel(0xf0, 7 8 9, 256 1 1, 100000, 0x50, {7123456789ab, -42, 0.5}, (nil))
                """, calls);
    }

    @ParameterizedTest
    @EnumSource
    void memoryIsTakenCopiedFilledAndGivenBack(CudaBinding binding) {
        String calls = calls(binding, driver -> {
            long address = driver.allocate(5L << 30);
            assertEquals(0x7000000000L, address);
            MemorySegment host = driver.allocateHost(64);
            assertEquals(64, host.byteSize());
            host.fill((byte) 0).set(ValueLayout.JAVA_INT, 0, 77);
            driver.copyToDevice(address, host, CudaDriver.DEFAULT_STREAM);
            driver.copyToHost(host, address + 16, driver.createStream());
            assertEquals(0x5a5a5a5a, host.get(ValueLayout.JAVA_INT, 60));
            driver.copyOnDevice(address, address + 4096, 1L << 33, 0);
            driver.fill(address, (byte) 0xff, 3, 0);
            driver.freeHost(host);
            driver.free(address);
            assertEquals(new CudaDriver.MemoryInfo(3L << 30, 8L << 30), driver.memoryInfo());
        });
        assertEquals("""
                cuMemAlloc(5368709120)
                cuMemHostAlloc(64, 0)
                cuMemcpyHtoDAsync(7000000000, 77, 64, (nil))
                cuStreamCreate(1)
                cuMemcpyDtoHAsync(7000000010, 64, 0x50)
                cuMemcpyDtoDAsync(7000000000, 7000001000, 8589934592, (nil))
                cuMemsetD8Async(7000000000, 255, 3, (nil))
                cuMemFreeHost()
                cuMemFree(7000000000)
                cuMemGetInfo()
                """, calls);
    }

    @ParameterizedTest
    @EnumSource
    void devicesContextsStreamsAndEventsArePassedOn(CudaBinding binding) {
        String calls = calls(binding, driver -> {
            assertEquals(12080, driver.driverVersion());
            assertEquals(1, driver.deviceCount());
            assertEquals("Stub 40", driver.deviceName(0));
            assertEquals(8L << 30, driver.totalMemory(0));
            assertEquals(9, driver.attribute(0, Attribute.COMPUTE_MAJOR));
            driver.setCurrent(driver.retainPrimaryContext(0));
            long stream = driver.createStream();
            long event = driver.createEvent(true);
            driver.recordEvent(event, stream);
            driver.waitForEvent(stream, event);
            driver.synchronizeEvent(event);
            assertEquals(1.5f, driver.elapsedMillis(event, event));
            driver.synchronizeStream(stream);
            driver.destroyEvent(event);
            driver.destroyStream(stream);
            driver.releasePrimaryContext(0);
        });
        assertEquals("""
                cuDriverGetVersion()
                cuDeviceGetCount()
                cuDeviceGet(0)
                cuDeviceGetName(256, 40)
                cuDeviceGet(0)
                cuDeviceTotalMem(40)
                cuDeviceGet(0)
                cuDeviceGetAttribute(75, 40)
                cuDeviceGet(0)
                cuDevicePrimaryCtxRetain(40)
                cuCtxSetCurrent(0xc0)
                cuStreamCreate(1)
                cuEventCreate(0)
                cuEventRecord(0xe0, 0x50)
                cuStreamWaitEvent(0x50, 0xe0, 0)
                cuEventSynchronize(0xe0)
                cuEventElapsedTime(0xe0, 0xe0)
                cuStreamSynchronize(0x50)
                cuEventDestroy(0xe0)
                cuStreamDestroy(0x50)
                cuDeviceGet(0)
                cuDevicePrimaryCtxRelease(40)
                """, calls);
    }

    @ParameterizedTest
    @EnumSource
    void aFailedCallNamesItselfItsArgumentsAndCudasReason(CudaBinding binding) {
        calls(binding, driver -> {
            StubDriver.fail("cuMemAlloc", 2);
            CudaException full = assertThrows(CudaException.class, () -> driver.allocate(123));
            assertEquals("cuMemAlloc(bytes = 123): CUDA_ERROR_OUT_OF_MEMORY (2), out of memory", full.getMessage());
            assertTrue(full.outOfMemory());
            StubDriver.fail("cuStreamSynchronize", 700);
            CudaException illegal = assertThrows(CudaException.class, () -> driver.synchronizeStream(0));
            assertEquals(
                    "cuStreamSynchronize(): CUDA_ERROR_ILLEGAL_ADDRESS (700), an illegal memory access was encountered;"
                            + " a kernel that was begun before has failed, -Dqlora.cuda.check=true names it",
                    illegal.getMessage());
            StubDriver.fail("cuMemGetInfo", 12345);
            CudaException unknown = assertThrows(CudaException.class, driver::memoryInfo);
            assertEquals("cuMemGetInfo(): an unknown error (12345), an unknown error", unknown.getMessage());
        });
    }

    @ParameterizedTest
    @EnumSource
    void aProbeFindsTheCard(CudaBinding binding) {
        calls(
                binding,
                driver -> assertEquals(
                        "Stub 40, sm_90, 8 GiB, driver for CUDA 12.8",
                        CudaProbe.run(driver).toString()));
    }

    @ParameterizedTest
    @EnumSource
    void aCardIsOpenedWithTheCodeThatFitsItAndGivenBack(CudaBinding binding) {
        assumeTrue(
                NativeLibrary.CUDA.available() && codeThere(),
                "nvcc is missing, and so is NVRTC: there is no code to load");
        StubDriver.clear();
        try (CudaDevice card = CudaDevice.open(binding, 0)) {
            assertTrue(card.description().startsWith("cuda:0, Stub 40, " + binding + ", kernels "), card.description());
        }
        String calls = StubDriver.log();
        assertTrue(calls.endsWith("cuStreamDestroy(0x50)\ncuDeviceGet(0)\ncuDevicePrimaryCtxRelease(40)\n"), calls);
    }

    private static boolean codeThere() {
        try {
            return CardCode.of(90) != null;
        } catch (IllegalStateException e) {
            return false;
        }
    }

    @Test
    void codeThatTheDriverCannotCompileIsReportedInTheCompilersWords() {
        calls(CudaBinding.PANAMA, driver -> {
            StubDriver.fail("cuModuleLoadData", 700);
            CudaException e = assertThrows(CudaException.class, () -> driver.loadModule(new byte[] {'x'}));
            assertTrue(e.getMessage().contains("compiler = ptxas says no"), e.getMessage());
        });
    }
}
