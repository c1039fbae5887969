package io.qlora.cuda.blas;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.emulation.EmulatedDriver;
import io.qlora.cuda.emulation.EmulatedLibrary;
import io.qlora.cuda.kernels.CudaMatMul;
import io.qlora.cuda.kernels.Route;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.ops.Linear;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** A machine that has no library of NVIDIA's: in a JVM of its own, since what was loaded once stays. */
class NoLibraryTest {

    private static final int ROWS = 70;

    @Test
    void productsAreOurOwnAndOneLineSaysWhatWasLookedFor() throws Exception {
        EmulatedLibrary.load(); // skips the test where it cannot be made
        ProcessBuilder builder = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "--add-modules",
                        "jdk.incubator.vector",
                        "--enable-native-access=ALL-UNNAMED",
                        "-Dqlora.cuda.cublaslt=/nowhere/libcublasLt.so.13",
                        "-Dqlora.root=" + System.getProperty("qlora.root", ".."),
                        "-cp",
                        System.getProperty("java.class.path"),
                        NoLibraryTest.class.getName())
                .redirectError(ProcessBuilder.Redirect.DISCARD);
        Process process = builder.start();
        process.getOutputStream().close();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(0, process.waitFor(), said);
        List<String> lines = said.lines().toList();
        assertEquals(2, lines.size(), said);
        assertEquals(
                "this project's own kernels alone, no library of NVIDIA's: cuBLASLt cannot be called: libcublasLt.so.13 was"
                        + " not found (tried /nowhere/libcublasLt.so.13; -Dqlora.cuda.cublaslt=FILE names another);"
                        + " JCublas2, which needs CUDA 12's cuBLAS, cannot be loaded",
                lines.getFirst());
        assertTrue(lines.getLast().endsWith(", own products"), said);
    }

    /** Whose products a card uses, and a product of ones by that. */
    public static void main(String[] arguments) {
        EmulatedDriver driver = new EmulatedDriver(EmulatedLibrary.load(), 1L << 28, 0);
        CudaDevice.Options options = new CudaDevice.Options(1 << 16, true, Blas.AUTO);
        try (CudaDevice card = CudaDevice.open(driver, 0, EmulatedDriver.code(), options);
                ModelMemory memory = new ModelMemory(card)) {
            CudaMatMul.of(card).force(Route.LIBRARY);
            float[] ones = new float[ROWS * ROWS];
            Arrays.fill(ones, 1);
            Tensor x = memory.empty(DType.F32, ROWS, ROWS).set(ones);
            Tensor y = memory.empty(DType.F32, ROWS, ROWS);
            card.kernel(Linear.Kernel.class).forward(x, x, y);
            for (float found : y.toFloats()) {
                if (found != ROWS) {
                    throw new IllegalStateException(found + " is wrong");
                }
            }
            System.out.println(CudaMatMul.of(card).products());
            System.out.println(card.report().getFirst());
        }
    }
}
