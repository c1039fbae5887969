package io.qlora.cuda.compile;

import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.regex.Pattern;

/**
 * Part of the build: compiles every kernel with {@code nvcc}, where there is one, for all cards that are supported. Fails on
 * a warning, on a kernel whose registers spill to memory, and on one whose {@code wgmma} or {@code setmaxnreg} the assembler does
 * not leave as it is. A unit whose text has not changed is not compiled again.
 */
public final class NvccBuild {

    private static final List<String> ARCHITECTURES = List.of("80", "86", "89", "90a", "100", "120");
    private static final String VIRTUAL = "80"; // of the PTX, for cards to come
    private static final Pattern SPILL = Pattern.compile("[1-9]\\d* bytes spill (stores|loads)");

    /** What ptxas says, as information, when it has {@code wgmma} wait one by one, or takes no heed of {@code setmaxnreg}. */
    private static final Pattern CHANGED = Pattern.compile("\\(C75\\d\\d\\)");

    private static final int PARALLEL = 2;

    private final CodeCache cache;
    private final String version;

    private NvccBuild(Path cache) throws IOException {
        this.cache = new CodeCache(cache);
        this.version = run(List.of("nvcc", "--version"));
    }

    /**
     * Compiles.
     *
     * @param arguments the folder for the fatbins, and one to remember them in from build to build
     */
    public static void main(String[] arguments) throws Exception {
        boolean there = Arrays.stream(System.getenv("PATH").split(File.pathSeparator))
                .anyMatch(path -> Files.isExecutable(Path.of(path, "nvcc")));
        if (!there) {
            System.out.println("nvcc is missing: the CUDA kernels are not compiled, NVRTC will do it at run time");
            return;
        }
        Path folder = Path.of(arguments[0]);
        NvccBuild build = new NvccBuild(Path.of(arguments[1]));
        List<Future<?>> units = new ArrayList<>();
        try (ExecutorService workers = Executors.newFixedThreadPool(PARALLEL)) {
            for (String unit : KernelSources.UNITS) {
                units.add(workers.submit(() -> {
                    byte[] fatbin = build.cache.get(
                            build.version + ARCHITECTURES + SPILL + CHANGED + KernelSources.text(unit),
                            () -> compile(unit, KernelSources.text(unit), ARCHITECTURES));
                    return Files.write(folder.resolve(EmbeddedCode.file(unit)), fatbin);
                }));
            }
        }
        for (Future<?> unit : units) {
            unit.get();
        }
    }

    /** The fatbin of a unit, with PTX for cards to come. */
    static byte[] compile(String unit, String text, List<String> architectures) {
        try {
            Path work = Files.createTempDirectory("qlora-nvcc");
            Path source = work.resolve(unit + ".cu");
            Path fatbin = work.resolve(EmbeddedCode.file(unit));
            Files.writeString(source, text);
            List<String> command = new ArrayList<>(List.of("nvcc", "-fatbin", "-std=c++17", "-Werror", "all-warnings"));
            command.addAll(List.of("-Xptxas", "-v,-warn-spills"));
            for (String architecture : architectures) {
                command.add("-gencode=arch=compute_" + architecture + ",code=sm_" + architecture);
            }
            command.add("-gencode=arch=compute_" + VIRTUAL + ",code=compute_" + VIRTUAL);
            command.addAll(List.of("-o", fatbin.toString(), source.toString()));
            String said = run(command);
            if (SPILL.matcher(said).find()) {
                throw new IllegalStateException(unit + ".cu: registers spill to memory\n" + said);
            }
            if (CHANGED.matcher(said).find()) {
                throw new IllegalStateException(unit + ".cu: ptxas changes what the kernel says\n" + said);
            }
            byte[] bytes = Files.readAllBytes(fatbin);
            Files.delete(fatbin);
            Files.delete(source);
            Files.delete(work);
            return bytes;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static String run(List<String> command) throws IOException {
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        process.getOutputStream().close();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        try {
            if (process.waitFor() != 0) {
                throw new IllegalStateException(String.join(" ", command) + "\n" + said);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted", e);
        }
        return said;
    }
}
