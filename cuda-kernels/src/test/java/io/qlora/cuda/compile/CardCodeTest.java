package io.qlora.cuda.compile;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.qlora.cuda.CodeSource;
import io.qlora.cuda.emulation.Toolchain;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CardCodeTest {

    @Test
    void everySourceIsAUnit() throws IOException {
        try (Stream<Path> files = Files.list(Toolchain.kernels())) {
            List<String> units = files.map(file -> file.getFileName().toString())
                    .filter(name -> name.endsWith(".cu"))
                    .map(name -> name.substring(0, name.length() - ".cu".length()))
                    .sorted()
                    .toList();
            assertEquals(units, KernelSources.UNITS);
        }
    }

    /** The build compiles them, and fails on a warning or a spill: here only that it did. */
    @Test
    void theJarCarriesEveryKernelForEveryCardWhereNvccIs() {
        assumeTrue(Toolchain.has("nvcc"), "nvcc is missing: the CUDA kernels are not compiled");
        assumeTrue(System.getProperty("qlora.fast") == null, "a fast build leaves the CUDA kernels to NVRTC");
        assertTrue(EmbeddedCode.available());
        for (int capability : CardCode.BUILT) {
            CodeSource code = CardCode.of(capability);
            assertEquals("embedded", code.name());
            for (String unit : KernelSources.UNITS) {
                assertTrue(code.image(unit).length > 1000, unit);
            }
        }
    }

    /** Registers asked for by a kernel that does not say how many threads it has: ptxas says that it takes no heed. */
    @Test
    void aKernelThatTheAssemblerChangesFailsTheBuild() {
        assumeTrue(Toolchain.has("nvcc"), "nvcc is missing: the CUDA kernels are not compiled");
        String kernel = """
                extern "C" __global__ void %s {
                #if __CUDA_ARCH__ == 900
                    asm volatile("setmaxnreg.inc.sync.aligned.u32 240;");
                #endif
                }
                """;
        List<String> hopper = List.of("90a");
        IllegalStateException e = assertThrows(
                IllegalStateException.class, () -> NvccBuild.compile("changed", kernel.formatted("changed()"), hopper));
        assertTrue(e.getMessage().startsWith("changed.cu: ptxas changes what the kernel says"), e.getMessage());
        String bounded = kernel.formatted("__launch_bounds__(128, 1) kept()");
        assertTrue(NvccBuild.compile("kept", bounded, hopper).length > 0);
    }

    @Test
    void aCardThatTheJarWasNotBuiltForGetsWhatNvrtcMakesOrTheJarsOwn() {
        assertEquals("embedded", CardCode.of(90, true).name());
        String newer = CardCode.of(103, true).name();
        assertTrue(newer.equals("embedded") || newer.matches("NVRTC .* for sm_103"), newer);
        assumeTrue(NvrtcCode.available(), "NVRTC is missing: the CUDA kernels are not compiled at run time");
        assertTrue(CardCode.of(90, false).name().matches("NVRTC .* for sm_90a"));
    }

    @Test
    void withNeitherTheSentenceSaysWhatWasTriedAndTheWayOut() {
        assumeFalse(NvrtcCode.available(), "NVRTC is there");
        IllegalStateException e = assertThrows(IllegalStateException.class, () -> CardCode.of(90, false));
        assertTrue(
                e.getMessage()
                        .startsWith("there is no machine code of the CUDA kernels: this jar was built without nvcc, and"
                                + " libnvrtc.so.13 was not found (tried "),
                e.getMessage());
        assertTrue(
                e.getMessage().endsWith("; install CUDA's NVRTC, or use a jar that was built with nvcc"),
                e.getMessage());
    }

    @Test
    void whatNvrtcDoesNotCompileTheJarsOwnCodeServes(@TempDir Path folder) {
        assumeTrue(NvrtcCode.available(), "NVRTC is missing: the CUDA kernels are not compiled at run time");
        CodeSource own = new CodeSource() {
            @Override
            public byte[] image(String unit) {
                return unit.getBytes(StandardCharsets.UTF_8);
            }

            @Override
            public String name() {
                return "own";
            }
        };
        int unknown = 999;
        assertArrayEquals(own.image("add"), new NvrtcCode(unknown, new CodeCache(folder), own).image("add"));
        CodeSource alone = new NvrtcCode(unknown, new CodeCache(folder), null);
        IllegalStateException e = assertThrows(IllegalStateException.class, () -> alone.image("add"));
        assertTrue(e.getMessage().contains("did not compile add.cu with [--gpu-architecture=sm_999"), e.getMessage());
        assertTrue(e.getMessage().endsWith("; -Dqlora.cuda.nvrtc=FILE names another NVRTC"), e.getMessage());
    }

    @Test
    void nvrtcCompilesEveryKernelForEveryCardAndKeepsIt(@TempDir Path folder) throws IOException {
        assumeTrue(NvrtcCode.available(), "NVRTC is missing: the CUDA kernels are not compiled at run time");
        CodeSource code = new NvrtcCode(80, new CodeCache(folder), null);
        for (String unit : KernelSources.UNITS) {
            byte[] cubin = code.image(unit);
            assertTrue(cubin.length > 1000 && cubin[1] == 'E' && cubin[2] == 'L' && cubin[3] == 'F', unit);
        }
        try (Stream<Path> files = Files.list(folder)) {
            assertEquals(KernelSources.UNITS.size(), files.count());
        }
    }
}
