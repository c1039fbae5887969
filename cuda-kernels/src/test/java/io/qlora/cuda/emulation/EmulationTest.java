package io.qlora.cuda.emulation;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.driver.CudaDriver;
import io.qlora.cuda.driver.CudaException;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

/** The emulation finds the faults it is there to find. */
class EmulationTest {

    private static final int THREADS = 64;
    private static final int[] NUMBERS = IntStream.range(0, THREADS).toArray();
    private static final int[] REVERSED =
            IntStream.range(0, THREADS).map(i -> THREADS - 1 - i).toArray();

    private static SymbolLookup faults(String flag) throws IOException {
        assumeTrue(Toolchain.has("g++"), "g++ is missing: the CUDA kernels are not run on the CPU");
        Path library = Toolchain.output("emulated/faults" + flag + ".so");
        Toolchain.run(
                "g++",
                "-std=c++17",
                "-O1",
                "-fPIC",
                "-shared",
                "-U_FORTIFY_SOURCE",
                flag.isEmpty() ? "-DPLAIN" : flag,
                "-include",
                Toolchain.source("cuemu.h").toString(),
                "-x",
                "c++",
                Toolchain.source("faults.cu").toString(),
                "-o",
                library.toString());
        return SymbolLookup.libraryLookup(library, Arena.global());
    }

    private static int[] run(SymbolLookup library, String kernel, int order) {
        EmulatedDriver driver = new EmulatedDriver(library, 16 << 20, order);
        CudaDevice.Options options = new CudaDevice.Options(1 << 12, true);
        try (CudaDevice card = CudaDevice.open(driver, 0, EmulatedDriver.code(), options);
                ModelMemory memory = new ModelMemory(card)) {
            Tensor x = memory.empty(DType.I32, THREADS).set(NUMBERS);
            Tensor y = memory.empty(DType.I32, THREADS);
            card.launch(
                    card.function("faults", kernel),
                    CudaDriver.Shape.of(1, THREADS),
                    to -> to.pointer(x).pointer(y));
            return y.toInts();
        }
    }

    @Test
    void aKernelWithItsBarriersGivesTheSameInEveryOrder() throws IOException {
        for (int order = 0; order < 3; order++) {
            assertArrayEquals(REVERSED, run(faults(""), "reverse", order));
        }
    }

    @Test
    void aMissingBarrierShowsInSomeOrder() throws IOException {
        SymbolLookup library = faults("-DWITHOUT_BARRIER");
        boolean same = true;
        for (int order = 0; order < 3; order++) {
            same &= Arrays.equals(REVERSED, run(library, "reverse", order));
        }
        assertFalse(same);
    }

    @Test
    void aBarrierThatNotAllReachIsReportedInsteadOfWaitingForEver() throws IOException {
        SymbolLookup library = faults("");
        CudaException e = assertThrows(CudaException.class, () -> run(library, "diverge", 0));
        assertTrue(e.getMessage().contains("waits at __sync"), e.getMessage());
    }

    @Test
    void anAccessOutOfBoundsIsFoundByAddressSanitizer() throws Exception {
        SanitizedRun.Result result = SanitizedRun.fork("overrun");
        assertTrue(result.exit() != 0, result.said());
        assertTrue(result.said().contains("heap-buffer-overflow"), result.said());
        assertTrue(result.said().contains("faults.cu"), result.said());
    }

    @Test
    void noKernelReadsOrWritesOutOfBounds() throws Exception {
        SanitizedRun.Result result = SanitizedRun.fork("ops");
        assertEquals(0, result.exit(), result.said());
        assertTrue(result.said().contains(SanitizedRun.DONE), result.said());
    }
}
