package io.qlora.cuda.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.driver.CudaDriver;
import io.qlora.cuda.driver.CudaException;
import io.qlora.cuda.emulation.EmulatedDriver;
import io.qlora.cuda.emulation.EmulatedLibrary;
import io.qlora.cuda.emulation.WatchedDriver;
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
    private final List<String> begun = new ArrayList<>(); // pieces, and how many figures there were until then

    private static CudaDevice card() {
        EmulatedDriver driver = new EmulatedDriver(EmulatedLibrary.load(), 4L << 30, 0);
        return CudaDevice.open(driver, 0, EmulatedDriver.code(), new CudaDevice.Options(1 << 16, true));
    }

    private Report run(String only, CardBench.Part... parts) {
        return run(new Selection(Pattern.compile(only)), parts);
    }

    private Report run(Selection what, CardBench.Part... parts) {
        String before = System.getProperty("qlora.cuda.cache");
        System.setProperty("qlora.cuda.cache", cache.toString());
        try (CudaDevice card = card()) {
            return new CardBench(card, new CardBench.Options(what, true), listener()).run(List.of(parts));
        } finally {
            if (before == null) {
                System.clearProperty("qlora.cuda.cache");
            } else {
                System.setProperty("qlora.cuda.cache", before);
            }
        }
    }

    @Test
    void wgmmaKernelsThatAreNotUsedAreAFailure() {
        EmulatedDriver hopper = new EmulatedDriver(EmulatedLibrary.load(), 4L << 30, 0, 9);
        CudaDriver missing = WatchedDriver.of(hopper, (method, arguments) -> {
            if (method.equals("function") && ((String) arguments[1]).startsWith("wgmma")) {
                throw CudaException.of("cuModuleGetFunction", 500, "CUDA_ERROR_NOT_FOUND", "named symbol not found");
            }
            return null;
        });
        CudaDevice.Options options = new CudaDevice.Options(1 << 16, true);
        try (CudaDevice card = CudaDevice.open(missing, 0, EmulatedDriver.code(), options)) {
            Pattern nothing = Pattern.compile("nothing");
            Report report = new CardBench(card, new CardBench.Options(nothing, true), lines::add).run(List.of());
            assertFalse(report.passed());
            assertEquals(1, report.failures().size(), report.failures().toString());
            assertTrue(report.failures().getFirst().startsWith("the wgmma kernels of matrix products are not used"));
        }
    }

    @Test
    void everythingIsCheckedAndMeasuredFromEndToEnd() {
        Report report = run("", new CardBench.Part() {
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
        long byTiles = ProductCases.ALL.size();
        long decoded = byTiles - 3; // dense linears
        assertEquals(
                4 * (KernelCase.all().size() + byTiles + decoded + ProductCases.ROWS.size()),
                report.checks().size(),
                "both types, alone and on top of gradients");
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
            CheckPlan.Item item = new CheckPlan.Item(norm, List.of(Size.SMALL), null, false);
            return new Checks(card, cpu).of(item, Size.SMALL).getFirst();
        }
    }

    @Test
    void aPartThatFailsIsReportedAndTheRestGoesOn() {
        Report report = run("^broken$|^fine$", part("broken", true), part("fine", false));
        assertFalse(report.passed());
        assertEquals(List.of("broken: no room"), report.failures());
        assertEquals(1, report.figures().size());
    }

    @Test
    void aPieceOfAPartThatFailsLeavesTheOthers() {
        Report report = run("^steps$", pieces());
        assertEquals(List.of("steps, two: a class"), report.failures());
        assertEquals(
                List.of("first", "third"),
                report.figures().stream().map(Figure::name).toList());
        assertEquals(List.of("copy 0", "dense product 0", "steps, one 0", "steps, two 1", "steps, three 1"), begun);
    }

    /** As a process does after another that was lost on the way. */
    @Test
    void whatComesUpToAPieceCanBeLeftOutAndAPieceBeDoneAlone() {
        Set<String> steps = Set.of("steps");
        run(new Selection(null, steps, "steps, two", null), pieces());
        assertEquals(List.of("steps, three 0"), begun);
        begun.clear();
        run(new Selection(null, steps, null, "steps, one"), pieces());
        assertEquals(List.of("steps, one 0"), begun);
        for (Selection none : List.of(
                new Selection(null, steps, "steps, four", null), new Selection(null, steps, null, "steps, four"))) {
            IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> run(none, pieces()));
            assertEquals("nothing is called steps, four in the parts that are wanted", e.getMessage());
        }
    }

    @Test
    void whatKernelsAreHeldAgainstIsMeasuredAgainUnlessTheCardWasLostInIt() {
        Pattern one = Pattern.compile("^Add|^RmsNorm.forward");
        Set<String> kernels = Set.of(Selection.KERNELS);
        run(new Selection(one, kernels, "RmsNorm.forward", null));
        assertEquals(List.of("copy 0", "dense product 0", "Add.forward 0", "AddRmsNorm.forward 0"), begun);
        begun.clear();
        run(new Selection(one, kernels, "copy", null));
        assertEquals("dense product 0", begun.getFirst());
        begun.clear();
        run(new Selection(one, Set.of(Selection.CHECKS), "RmsNorm.forward, check", null));
        assertEquals(List.of("Add.forward, check 0", "AddRmsNorm.forward, check 0"), begun);
    }

    private static CardBench.Part pieces() {
        return new CardBench.Part() {
            @Override
            public String name() {
                return "steps";
            }

            @Override
            public void measure(CudaDevice device, boolean small, CardBench.Findings findings) {
                findings.attempt("one", () -> findings.add(Figure.of("first", 1, "ns", "")));
                findings.attempt("two", () -> {
                    throw new NoClassDefFoundError("a class");
                });
                findings.attempt("three", () -> findings.add(Figure.of("third", 3, "ns", "")));
            }
        };
    }

    private CardBench.Listener listener() {
        return new CardBench.Listener() {
            @Override
            public void line(String line) {
                lines.add(line);
            }

            @Override
            public void next(Report soFar, String next) {
                begun.add(next + " " + soFar.figures().size());
            }
        };
    }

    /** After an error in a kernel everything fails: that is said once, and what was found until then is reported. */
    @Test
    void aCardThatAnswersNoMoreEndsTheBenchWithWhatWasFound() {
        boolean[] lost = new boolean[1];
        EmulatedDriver real = new EmulatedDriver(EmulatedLibrary.load(), 1L << 30, 0);
        CudaDriver driver = WatchedDriver.of(real, (method, arguments) -> {
            if (lost[0] && method.equals("synchronizeStream")) {
                throw CudaException.of("cuStreamSynchronize", 700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal access");
            }
            return null;
        });
        CudaDevice.Options settings = new CudaDevice.Options(1 << 16, true);
        CudaDevice card = CudaDevice.open(driver, 0, EmulatedDriver.code(), settings);
        CardBench.Part breaking = new CardBench.Part() {
            @Override
            public String name() {
                return "breaking";
            }

            @Override
            public void measure(CudaDevice device, boolean small, CardBench.Findings findings) {
                findings.add(Figure.of("found before", 1, "ns", ""));
                lost[0] = true;
                findings.attempt("of which", device::finish);
                findings.attempt("the rest", () -> findings.add(Figure.of("found after", 1, "ns", "")));
            }
        };
        CardBench.Options options = new CardBench.Options(Pattern.compile("^breaking$|^fine$"), true);
        Report report = new CardBench(card, options, lines::add).run(List.of(breaking, part("fine", false)));
        assertEquals("breaking, of which", report.lostAt());
        assertEquals(2, report.failures().size(), report.failures().toString());
        assertTrue(report.failures().getLast().startsWith("the card answers no more, what comes after was left out: "));
        assertEquals(
                List.of("found before"),
                report.figures().stream().map(Figure::name).toList());
        lost[0] = false;
        card.close();
    }

    /** Work that takes a card 7 µs, between events that take it 2: done often enough that these hardly count. */
    @Test
    void shortWorkIsTimedSeveralTimesBetweenTwoEvents() {
        double[] clock = new double[1];
        List<Double> events = new ArrayList<>();
        EmulatedDriver real = new EmulatedDriver(EmulatedLibrary.load(), 1L << 30, 0);
        CudaDriver driver = WatchedDriver.of(real, (method, arguments) -> switch (method) {
            case "createEvent" -> {
                events.add(0.0);
                yield events.size() - 1L;
            }
            case "recordEvent" -> events.set((int) (long) arguments[0], clock[0] += 1);
            case "elapsedMillis" ->
                (float) (1e-3 * (events.get((int) (long) arguments[1]) - events.get((int) (long) arguments[0])));
            default -> null;
        });
        CudaDevice.Options settings = new CudaDevice.Options(1 << 16, true);
        try (CudaDevice card = CudaDevice.open(driver, 0, EmulatedDriver.code(), settings);
                EventTimer timer = new EventTimer(card)) {
            assertEquals(7, timer.time(List.of(() -> clock[0] += 7)).median(), 0.1);
            assertEquals(701, timer.time(List.of(() -> clock[0] += 700)).median(), 0.1);
        }
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
