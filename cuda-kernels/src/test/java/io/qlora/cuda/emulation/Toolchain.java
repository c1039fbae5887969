package io.qlora.cuda.emulation;

import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** The compilers that tests call, and where their files are. */
public final class Toolchain {

    /** Of this module, which is not always the one whose tests run. */
    private static final Path MODULE =
            Path.of(System.getProperty("qlora.root", ".."), "cuda-kernels").toAbsolutePath();

    private Toolchain() {}

    /** Whether a program of this name is on the path. */
    public static boolean has(String program) {
        return Arrays.stream(System.getenv("PATH").split(File.pathSeparator))
                .anyMatch(folder -> Files.isExecutable(Path.of(folder, program)));
    }

    /** A file among the tests' C and CUDA sources. */
    public static Path source(String name) {
        return MODULE.resolve("src/test/cuda").resolve(name);
    }

    /** The folder of the kernels' sources. */
    public static Path kernels() {
        return MODULE.resolve("src/main/java/io/qlora/cuda/kernels");
    }

    /** A file to be made, its folder there. */
    public static Path output(String name) {
        try {
            Path file = MODULE.resolve("target").resolve(name);
            Files.createDirectories(file.getParent());
            return file;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Runs a program to its end, and gives what it said. Fails the test with that if the program fails. */
    public static String run(String... command) throws IOException {
        return run(List.of(command));
    }

    /** Runs a program to its end, and gives what it said. Fails the test with that if the program fails. */
    public static String run(List<String> command) throws IOException {
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        process.getOutputStream().close();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        try {
            if (!process.waitFor(10, TimeUnit.MINUTES) || process.exitValue() != 0) {
                throw new AssertionError(String.join(" ", command) + "\n" + said);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new AssertionError(e);
        }
        return said;
    }
}
