package io.qlora.cuda.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.emulation.EmulatedDriver;
import io.qlora.cuda.emulation.EmulatedLibrary;
import io.qlora.cuda.kernels.CudaKernels;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.ops.RmsNorm;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The bench of a card, on one that is emulated: everything but the times. */
class CardBenchTest {

    @TempDir
    Path cache;

    private final List<String> lines = new ArrayList<>();

    private static CudaDevice card() {
        EmulatedDriver driver = new EmulatedDriver(EmulatedLibrary.load(), 4L << 30, 0);
        return CudaDevice.open(driver, 0, EmulatedDriver.code(), new CudaDevice.Options(1 << 16, true));
    }

    private Report run(String only, CardBench.Part... parts) {
        String before = System.getProperty("qlora.cuda.cache");
        System.setProperty("qlora.cuda.cache", cache.toString());
        try (CudaDevice card = card()) {
            Pattern pattern = only == null ? null : Pattern.compile(only);
            return new CardBench(card, new CardBench.Options(pattern, true), lines::add).run(List.of(parts));
        } finally {
            if (before == null) {
                System.clearProperty("qlora.cuda.cache");
            } else {
                System.setProperty("qlora.cuda.cache", before);
            }
        }
    }

    @Test
    void everythingIsCheckedAndMeasuredFromEndToEnd() {
        Report report = run(null, new CardBench.Part() {
            @Override
            public String name() {
                return "part";
            }

            @Override
            public void measure(CudaDevice card, boolean small, CardBench.Findings findings) {
                assertTrue(small);
                findings.add(Figure.atMost(2, "a figure", 3, "GiB", "of a part"));
            }
        });
        String said = String.join("\n", lines);
        assertTrue(report.passed(), said);
        assertEquals(4 * KernelCase.all().size(), report.checks().size(), "both types, alone and on top of gradients");
        assertEquals(2, report.ceilings().size());
        assertEquals(
                KernelCase.all().stream().filter(KernelCase::measured).count() + 1,
                report.kernels().size(),
                "the kernels, and our tiles");
        assertTrue(said.contains("a launch through emulated"), said);
        assertTrue(said.contains("a figure") && !said.contains("not met"), said);
        assertTrue(report.routes().contains("nt nf4 1 "), report.routes());
        assertTrue(report.routes().contains("measured on this card just now"), report.routes());
    }

    @Test
    void aFigureSaysWhetherItsAimWasMet() {
        String missed = Figure.atMost(2, "memory", 3, "GiB", "whole").toString();
        assertTrue(missed.endsWith("3.000 GiB       (at most 2.000: not met) whole"), missed);
        String met = Figure.atLeast(14_600, "speed", 15_000.4, "tokens/s", "").toString();
        assertTrue(met.endsWith("15,000 tokens/s  (at least 14,600: met)"), met);
    }

    @Test
    void onlyWhatIsNamedIsDone() {
        Report report = run("^Rms.*forward$|nothing");
        assertEquals(4, report.checks().size());
        assertEquals(1, report.kernels().size());
        assertTrue(report.figures().isEmpty());
    }

    @Test
    void everyContractHasACheck() {
        Set<Class<?>> shown =
                KernelCase.all().stream().map(KernelCase::contract).collect(Collectors.toSet());
        try (CudaDevice card = card()) {
            Set<Class<?>> there = new CudaKernels().kernels(card).keySet();
            assertEquals(
                    Set.of(), there.stream().filter(c -> !shown.contains(c)).collect(Collectors.toSet()));
        }
    }

    /** That a check can fail: a kernel that leaves a row unwritten, one that is a little off, and one that is right. */
    @Test
    void aKernelThatIsWrongIsFound() {
        assertFalse(check(0, 1).passed(), "a row was not written");
        assertFalse(check(5, 1.01f).passed(), "1 % too large");
        assertTrue(check(5, 1).passed());
    }

    private static Check check(int rows, float factor) {
        KernelCase norm = KernelCase.of("norm", RmsNorm.Kernel.class, KernelCase.Precision.ELEMENTS, (in, s) -> {
            Tensor x = in.activation("x", 5, 16);
            Tensor w = in.floats("w", 16);
            Tensor y = in.output(5, 16);
            Tensor r = in.output(DType.F32, 5);
            RmsNorm.Kernel kernel = in.kernel(RmsNorm.Kernel.class);
            boolean card = x.device() instanceof CudaDevice;
            float epsilon = card && factor != 1 ? 0.02f : 1e-5f; // about 1 % off
            return KernelCase.Work.of(() -> {
                int done = card ? rows : 5;
                kernel.forward(x.rows(0, done), w, epsilon, y.rows(0, done), r);
            });
        });
        try (CudaDevice card = card();
                CpuDevice cpu = new CpuDevice(1)) {
            return new Checks(card, cpu).of(norm, Size.SMALL).getFirst();
        }
    }

    @Test
    void aPartThatFailsIsReportedAndTheRestGoesOn() {
        Report report = run("^broken$|^fine$", part("broken", true), part("fine", false));
        assertFalse(report.passed());
        assertEquals(List.of("broken: no room"), report.failures());
        assertEquals(1, report.figures().size());
    }

    private static CardBench.Part part(String name, boolean fails) {
        return new CardBench.Part() {
            @Override
            public String name() {
                return name;
            }

            @Override
            public void measure(CudaDevice card, boolean small, CardBench.Findings findings) {
                if (fails) {
                    throw new IllegalStateException("no room");
                }
                findings.add(Figure.of("figure", 1, "ns", ""));
            }
        };
    }
}
