package io.qlora.bench;

import io.qlora.cuda.Arguments;
import io.qlora.cuda.CodeSource;
import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.CudaFunction;
import io.qlora.cuda.KernelArguments;
import io.qlora.cuda.driver.CudaBinding;
import io.qlora.cuda.driver.CudaDriver;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.SymbolLookup;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/**
 * A launch of a kernel of nine arguments, from the record they are in to the driver's function and back: on a driver that
 * does nothing, made by gcc.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class LaunchBenchmark {

    /** As {@code --cuda-binding}. */
    @Param({"panama", "jcuda"})
    public String binding;

    private static final CudaDriver.Shape SHAPE = new CudaDriver.Shape(132, 2, 1, 256, 0);

    private record Kernel(long x, long w, float epsilon, long y, long r, int columns, long dx, int accumulate, long n)
            implements KernelArguments {
        @Override
        public void write(Arguments to) {
            to.pointer(x).pointer(w).real(epsilon).pointer(y).pointer(r).integer(columns);
            to.pointer(dx).integer(accumulate).longInteger(n);
        }
    }

    private CudaDevice card;
    private CudaFunction function;
    private long n;

    @Setup
    public void open() throws IOException, InterruptedException {
        Path library = build();
        System.setProperty("qlora.cuda.driver", library.toString());
        SymbolLookup.libraryLookup(library, Arena.global()); // JCuda's library asks for it by its name
        CudaDriver driver =
                CudaBinding.valueOf(binding.toUpperCase(Locale.ROOT)).open();
        CodeSource none = new CodeSource() {
            @Override
            public byte[] image(String unit) {
                return new byte[1];
            }

            @Override
            public String name() {
                return "none";
            }
        };
        card = CudaDevice.open(driver, 0, none, new CudaDevice.Options(4096, false));
        function = card.function("none", "none");
    }

    private static Path build() throws IOException, InterruptedException {
        Path folder = Files.createTempDirectory("qlora-bench");
        Path source = folder.resolve("idle_driver.c");
        try (InputStream text = LaunchBenchmark.class.getResourceAsStream("idle_driver.c")) {
            Files.copy(text, source);
        }
        Path library = folder.resolve("libcuda.so.1");
        String output = library.toString();
        Process gcc = new ProcessBuilder(
                        "gcc", "-shared", "-fPIC", "-O2", "-Wl,-soname,libcuda.so.1", "-o", output, source.toString())
                .inheritIO()
                .start();
        if (gcc.waitFor() != 0) {
            throw new IOException("gcc did not make " + library);
        }
        return library;
    }

    @Benchmark
    public void launch() {
        card.launch(function, SHAPE, new Kernel(1, 2, 1e-5f, 3, 4, 4096, 5, 0, n++));
    }

    @TearDown
    public void close() {
        card.close();
    }
}
