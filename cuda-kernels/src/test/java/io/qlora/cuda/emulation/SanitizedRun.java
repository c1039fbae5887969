package io.qlora.cuda.emulation;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.driver.CudaDriver;
import io.qlora.cuda.kernels.ApartDevice;
import io.qlora.cuda.kernels.AttentionKernelsTest;
import io.qlora.cuda.kernels.ExactTest;
import io.qlora.cuda.kernels.OptimizerTest;
import io.qlora.cuda.kernels.ProductCase;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.ops.Add;
import io.qlora.engine.ops.SwiGlu;
import io.qlora.engine.ops.testing.OnCard;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;

/**
 * Kernels under AddressSanitizer, in a JVM of their own, since the sanitizer has to be there before anything else: every
 * activation is in memory of its own, so that a step beyond it is noticed, with the line that made it.
 */
public final class SanitizedRun {

    /** The last thing a run says if nothing was found. */
    static final String DONE = "no access out of bounds";

    private static final List<String> FLAGS =
            List.of("-fsanitize=address,alignment", "-fno-sanitize-recover=alignment", "-O1");

    private static final long MEMORY = 4L << 30;
    private static final int THREADS = 64;
    private static final int AMPERE = 8;
    private static final int HOPPER = 9;

    /** How a run ended, and what it said. */
    record Result(int exit, String said) {}

    private SanitizedRun() {}

    /** Runs {@link #main} in another JVM; skips the test where g++ has no AddressSanitizer. */
    static Result fork(String what) throws IOException, InterruptedException {
        assumeTrue(Toolchain.has("g++"), "g++ is missing: the CUDA kernels are not run on the CPU");
        String sanitizer = Toolchain.run("g++", "-print-file-name=libasan.so").strip();
        assumeTrue(sanitizer.startsWith("/"), "libasan is missing: the kernels are not run under AddressSanitizer");
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--add-modules",
                "jdk.incubator.vector",
                "--enable-native-access=ALL-UNNAMED",
                "-cp",
                System.getProperty("java.class.path"),
                SanitizedRun.class.getName(),
                what));
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().put("LD_PRELOAD", sanitizer);
        // the JVM uses signals and its own heap as it pleases; detect_stack_use_after_return would move fibres' frames
        builder.environment()
                .put("ASAN_OPTIONS", "detect_leaks=0:handle_segv=0:handle_sigill=0:detect_stack_use_after_return=0");
        Process process = builder.start();
        process.getOutputStream().close();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Result(process.waitFor(), said);
    }

    /** Runs every kernel, or the faulty kernel that reads one element too many. */
    public static void main(String[] what) throws IOException {
        if (what[0].equals("overrun")) {
            overrun();
        } else {
            ops();
        }
        System.out.println(DONE);
    }

    private static CudaDevice device(Path library) {
        return device(driver(library, AMPERE));
    }

    private static CudaDevice device(CudaDriver driver) {
        return CudaDevice.open(driver, 0, EmulatedDriver.code(), new CudaDevice.Options(1 << 12, true));
    }

    private static EmulatedDriver driver(Path library, int computeMajor) {
        SymbolLookup kernels = SymbolLookup.libraryLookup(library, Arena.global());
        return new EmulatedDriver(kernels, MEMORY, 0, computeMajor);
    }

    private static void ops() {
        Path library = EmulatedLibrary.build("sanitized", FLAGS.toArray(String[]::new));
        Recorder ampere = Recorder.of(driver(library, AMPERE));
        onAmpere(device(ampere.driver()));
        System.setProperty("qlora.cuda.wgmma", "true"); // untried: wrong ones are to be seen
        Recorder hopper = Recorder.of(driver(library, HOPPER));
        onHopper(device(hopper.driver()));
        Set<String> never = new TreeSet<>(EmulatedLibrary.kernels());
        never.removeAll(ampere.launched());
        never.removeAll(hopper.launched());
        if (!never.isEmpty()) {
            throw new IllegalStateException("kernels that were not run: " + never);
        }
    }

    private static void onAmpere(CudaDevice card) {
        for (OpCase test : OnCard.cases("io.qlora.engine.ops", "io.qlora.nf4", "io.qlora.lora")) {
            for (DType activations : List.of(DType.F32, DType.BF16)) {
                OnCard.run(test, new ApartDevice(card, activations));
            }
        }
        ProductCase.all().forEach(product -> product.check(card));
        AttentionKernelsTest.cases().stream()
                .filter(test -> test.toString().contains(" heads of 64,"))
                .forEach(test -> OnCard.run(test, new ApartDevice(card, DType.BF16)));
        ExactTest.run(new ApartMemory(card));
        OptimizerTest.run(new ApartMemory(card));
        rowsThatBeginAnywhere(card);
    }

    private static void onHopper(CudaDevice card) {
        ProductCase.large().forEach(product -> product.check(card));
        AttentionKernelsTest.cases().forEach(test -> OnCard.run(test, new ApartDevice(card, DType.BF16)));
    }

    /** Whole eights of elements, but not where a vector may be loaded from. */
    private static void rowsThatBeginAnywhere(CudaDevice card) {
        try (ModelMemory memory = new ModelMemory(card)) {
            for (DType dtype : List.of(DType.F32, DType.BF16)) {
                Tensor x = memory.zeros(dtype, 9, 3).rows(1, 9);
                card.kernel(Add.Kernel.class).forward(x, x, x);
                card.kernel(SwiGlu.Kernel.class).forward(x, x, x);
                card.kernel(SwiGlu.Kernel.class).backward(x, x, x, new Grad(x, false), null);
            }
        }
    }

    private static void overrun() throws IOException {
        Path library = Toolchain.output("emulated/faults-sanitized.so");
        List<String> command =
                new ArrayList<>(List.of("g++", "-std=c++17", "-g", "-fPIC", "-shared", "-U_FORTIFY_SOURCE"));
        command.addAll(FLAGS);
        command.addAll(List.of("-include", Toolchain.source("cuemu.h").toString(), "-x", "c++"));
        command.addAll(List.of(Toolchain.source("faults.cu").toString(), "-o", library.toString()));
        Toolchain.run(command);
        CudaDevice card = device(library);
        try (ModelMemory memory = new ModelMemory(card)) {
            // above the size from which model memory gives a tensor an allocation of its own
            Tensor x = memory.zeros(DType.I32, 1 << 18);
            Tensor end = x.rows((1 << 18) - THREADS, 1 << 18);
            Tensor y = memory.empty(DType.I32, THREADS);
            card.launch(
                    card.function("faults", "overrun"),
                    CudaDriver.Shape.of(1, THREADS),
                    to -> to.pointer(end).pointer(y));
        }
    }
}
