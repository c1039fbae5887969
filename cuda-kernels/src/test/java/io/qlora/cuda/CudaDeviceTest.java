package io.qlora.cuda;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.cuda.driver.CudaDriver;
import io.qlora.cuda.driver.CudaException;
import io.qlora.cuda.emulation.EmulatedDriver;
import io.qlora.cuda.emulation.EmulatedLibrary;
import io.qlora.cuda.emulation.WatchedDriver;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.ops.Add;
import io.qlora.engine.ops.RmsNorm;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DeviceArena;
import io.qlora.engine.tensor.DeviceMemoryException;
import io.qlora.engine.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import org.junit.jupiter.api.Test;

class CudaDeviceTest {

    private static final int STAGING = 1000; // bytes: no multiple of a float's

    private static EmulatedDriver driver(long memory) {
        return new EmulatedDriver(EmulatedLibrary.load(), memory, 0);
    }

    private static CudaDevice open(CudaDriver driver) {
        return CudaDevice.open(driver, 0, EmulatedDriver.code(), new CudaDevice.Options(STAGING, true));
    }

    @Test
    void whatIsWrittenThroughTheStagingRingIsReadBack() {
        try (CudaDevice card = open(driver(16 << 20));
                ModelMemory memory = new ModelMemory(card)) {
            for (int size : new int[] {1, 249, 250, 251, 500, 501, 5000}) {
                float[] values = OpCase.normal("values", size);
                Tensor there = memory.empty(DType.F32, size).set(values);
                Tensor copy = memory.empty(DType.F32, size);
                card.copy(there, copy);
                assertArrayEquals(values, copy.toFloats());
                card.zero(copy);
                assertArrayEquals(new float[size], copy.toFloats());
            }
        }
    }

    @Test
    void whatIsSetAsideInTheMachinesMemoryComesBack() {
        EmulatedDriver driver = driver(16 << 20);
        try (CudaDevice card = open(driver);
                ModelMemory memory = new ModelMemory(card);
                StepMemory step = new StepMemory(card)) {
            float[] values = OpCase.normal("values", 777);
            Tensor there = memory.empty(DType.F32, values.length).set(values);
            try (Tape tape = Tape.inference(step)) {
                Tensor aside = tape.onHost(there);
                card.copyBeside(there, aside);
                card.awaitCopies();
                card.zero(there);
                card.copyBeside(aside, there);
                card.awaitCopies();
                assertArrayEquals(values, there.toFloats());
                assertThrows(IllegalStateException.class, step::requireEmpty);
            }
            step.requireEmpty();
        }
        assertEquals(0, driver.used(), "everything was given back");
    }

    @Test
    void aCardThatIsFullSaysWhatWasAskedForWhatThereIsAndWhatToDo() {
        EmulatedDriver driver = driver(64 << 20);
        try (CudaDevice card = open(driver);
                DeviceArena arena = card.newArena()) {
            arena.allocate(40 << 20);
            DeviceMemoryException e = assertThrows(DeviceMemoryException.class, () -> arena.allocate(2L << 30));
            assertEquals(
                    "cuda:0 has no room for 2.0 GiB more: 24.0 MiB of 64.0 MiB are free, at most 23.2 MiB in one piece;"
                            + " lower --max-length or --per-device-train-batch-size, or use --gradient-checkpointing",
                    e.getMessage());
        }
        assertEquals(0, driver.used(), "everything was given back");
    }

    @Test
    void anotherThreadIsTurnedAway() {
        try (CudaDevice card = open(driver(16 << 20));
                ModelMemory memory = new ModelMemory(card)) {
            CompletableFuture<Void> other = CompletableFuture.runAsync(() -> memory.empty(DType.F32, 3));
            CompletionException e = assertThrows(CompletionException.class, other::join);
            assertTrue(e.getCause().getMessage().startsWith("cuda:0 belongs to the thread "), e.toString());
        }
    }

    @Test
    void aTensorThatIsElsewhereIsRefused() {
        try (CudaDevice card = open(driver(16 << 20));
                CpuDevice cpu = new CpuDevice(1);
                ModelMemory here = new ModelMemory(card);
                ModelMemory there = new ModelMemory(cpu)) {
            Tensor x = here.zeros(DType.F32, 4);
            Tensor y = there.zeros(DType.F32, 4);
            Add.Kernel add = card.kernel(Add.Kernel.class);
            IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> add.forward(x, y, x));
            assertEquals("F32 [4] is on cpu: copy it to the card first", e.getMessage());
            assertSame(add, card.kernel(Add.Kernel.class));
        }
    }

    @Test
    void aKernelThatIsMissingIsNamed() {
        try (CudaDevice card = open(driver(16 << 20))) {
            CudaFunction missing = card.function("add", "subtract");
            CudaException e =
                    assertThrows(CudaException.class, () -> card.launch(missing, CudaDriver.Shape.of(1, 32), to -> {}));
            assertTrue(e.getMessage().contains("subtract"), e.getMessage());
        }
    }

    @Test
    void aGridWithoutBlocksIsNoLaunch() {
        EmulatedDriver driver = driver(16 << 20);
        try (CudaDevice card = open(driver);
                ModelMemory memory = new ModelMemory(card)) {
            Tensor empty = memory.empty(DType.F32, 0, 8);
            card.kernel(Add.Kernel.class).forward(empty, empty, empty);
            assertEquals(0, driver.launches());
        }
    }

    /** As a driver of CUDA 12 does with what nvcc 13 has made. */
    @Test
    void codeThatTheDriverRefusesIsReplacedByAnotherSourcesOnce() {
        List<String> loaded = new ArrayList<>();
        CudaDriver driver = WatchedDriver.of(driver(16 << 20), (method, arguments) -> {
            String image = method.equals("loadModule") ? new String((byte[]) arguments[0], UTF_8) : "";
            loaded.add(image);
            if (image.startsWith("new ")) {
                throw CudaException.of("cuModuleLoadDataEx", 200, "CUDA_ERROR_INVALID_IMAGE", "image is invalid");
            }
            return null;
        });
        CodeSource tooNew = new CodeSource() {
            @Override
            public byte[] image(String unit) {
                return ("new " + unit).getBytes(UTF_8);
            }

            @Override
            public String name() {
                return "too new";
            }

            @Override
            public CodeSource instead(CudaException refusal) {
                assertTrue(refusal.codeRefused());
                return EmulatedDriver.code();
            }
        };
        try (CudaDevice card = CudaDevice.open(driver, 0, tooNew, new CudaDevice.Options(STAGING, true));
                ModelMemory memory = new ModelMemory(card)) {
            Tensor x = memory.zeros(DType.F32, 4).set(1f, 2f, 3f, 4f);
            card.kernel(Add.Kernel.class).forward(x, x, x);
            assertArrayEquals(new float[] {2, 4, 6, 8}, x.toFloats());
            card.kernel(RmsNorm.Kernel.class)
                    .forward(x.reshape(1, 4), x, 1, x.reshape(1, 4), memory.zeros(DType.F32, 1));
            assertTrue(card.description().endsWith("kernels emulated"), card.description());
        }
        loaded.removeIf(String::isEmpty);
        assertEquals(List.of("new add", "add", "rms_norm"), loaded);
    }
}
