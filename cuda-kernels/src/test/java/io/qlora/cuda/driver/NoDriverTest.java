package io.qlora.cuda.driver;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.qlora.cuda.CudaAccelerator;
import io.qlora.cuda.emulation.Toolchain;
import io.qlora.engine.tensor.Accelerator;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A machine without a driver, or with a file that is none: a sentence, and the JVM lives. In a JVM of its own. */
class NoDriverTest {

    private static final String JCUDA = "libJCudaDriver-12.6.0-linux-x86_64.so";

    @TempDir
    Path folder;

    /** What {@link #main} says when the driver is looked for in this file. */
    private static List<String> lines(Path driver, String... options) throws IOException {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(List.of(options));
        command.addAll(List.of("--enable-native-access=ALL-UNNAMED", "-Dqlora.cuda.driver=" + driver, "-cp"));
        command.addAll(List.of(System.getProperty("java.class.path"), NoDriverTest.class.getName()));
        return Toolchain.run(command).lines().toList();
    }

    /** Looks for a card twice, tries both bindings, and then to open a card by them. */
    public static void main(String[] arguments) {
        Accelerator cuda = new CudaAccelerator();
        System.out.println(CudaProbe.run());
        System.out.println(cuda.describe());
        for (CudaBinding binding : CudaBinding.values()) {
            try (CudaDriver driver = binding.open()) {
                System.out.println(driver.binding());
            } catch (CudaException e) {
                System.out.println(e.getMessage());
            }
        }
        for (String binding : cuda.bindings()) {
            try {
                CudaBinding.of(binding).open(0);
                System.out.println("opened");
            } catch (IllegalStateException e) {
                System.out.println(e.getMessage());
            }
        }
    }

    /** A library made by gcc; skips the test where that is missing. */
    private Path library(String text) throws IOException {
        assumeTrue(Toolchain.has("gcc"), "gcc is missing: there is no library to take for a driver");
        Path source = Files.writeString(folder.resolve("driver.c"), text);
        Path library = folder.resolve("libcuda.so.1");
        Toolchain.run(
                "gcc",
                "-shared",
                "-fPIC",
                "-w",
                "-Wl,-soname,libcuda.so.1",
                "-o",
                library.toString(),
                source.toString());
        return library;
    }

    private Path stub() throws IOException {
        return library(Files.readString(Toolchain.source("stub_driver.c")));
    }

    @Test
    void aMissingLibraryIsNamedWithTheWayOut() throws IOException {
        Path missing = folder.resolve("libcuda.so.1");
        String why = "libcuda.so.1 was not found (tried " + missing + "; -Dqlora.cuda.driver=FILE names another)";
        List<String> lines = lines(missing);
        assertEquals("no GPU: the CUDA driver is not installed, " + why, lines.get(0));
        assertEquals(lines.get(0), lines.get(1));
        assertEquals("cuInit cannot be called: " + why, lines.get(2));
        assertEquals(List.of(lines.get(0), lines.get(0)), lines.subList(4, 6), "by either binding");
    }

    @Test
    void aFileThatIsNoLibraryIsNoDriver() throws IOException {
        Path text = folder.resolve("libcuda.so.1");
        Files.writeString(text, "not a library");
        List<String> lines = lines(text);
        assertTrue(
                lines.stream().anyMatch(line -> line.startsWith("no GPU: the CUDA driver is not installed, ")),
                () -> String.join("\n", lines));
    }

    @Test
    void aLibraryWithoutCudasFunctionsIsNoDriver() throws IOException {
        Path other = library("int something_else(void) { return 0; }");
        List<String> lines = lines(other);
        for (int i : new int[] {0, 1, 4}) {
            assertTrue(
                    lines.get(i).startsWith("no GPU: the CUDA driver cannot be used, " + other + ": "), lines.get(i));
            assertTrue(lines.get(i).contains("Symbol not found: cuDriverGetVersion"), lines.get(i));
        }
        assertEquals("cuInit cannot be called: " + other + ": Symbol not found: cuInit", lines.get(2));
        String refused = "JCuda cannot be called: " + other + " is no CUDA driver";
        assertEquals(List.of(refused, refused), List.of(lines.get(3), lines.get(5)));
    }

    @Test
    void jcudaWhereItsLibraryCannotLoadSaysWhichBindingNeedsNone() throws IOException {
        String said = lines(folder.resolve("libcuda.so.1")).get(3);
        assumeFalse(said.equals("jcuda"), "there is a driver, and JCuda looks for the system's");
        assertTrue(said.startsWith("JCuda cannot be called: its library could not be loaded ("), said);
        assertTrue(said.contains("libcuda.so.1"), said);
        assertTrue(said.endsWith("); --cuda-binding panama needs none"), said);
    }

    @Test
    void jcudaWithoutATemporaryFolderSaysSo() throws IOException {
        Path missing = folder.resolve("missing");
        List<String> lines = lines(stub(), "-Djava.io.tmpdir=" + missing);
        assertEquals("opened", lines.get(lines.size() - 2), "panama needs none");
        assertEquals(
                "JCuda cannot be called: its library could not be loaded (the temporary folder " + missing
                        + " cannot be written to, -Djava.io.tmpdir=DIR names another); --cuda-binding panama needs none",
                lines.getLast());
    }

    @Test
    void jcudaLoadsNoFileOfSomebodyElseAndLeavesNone() throws IOException {
        Path temporary = Files.createDirectory(folder.resolve("temporary"));
        Path planted = Files.writeString(temporary.resolve(JCUDA), "a part of what it was, or somebody else's");
        List<String> lines = lines(stub(), "-Djava.io.tmpdir=" + temporary);
        assertEquals(List.of("panama", "jcuda", "opened", "opened"), lines.subList(2, 6));
        try (Stream<Path> left = Files.list(temporary)) {
            assertEquals(
                    List.of(planted),
                    left.filter(file -> !file.getFileName().toString().startsWith("hsperfdata"))
                            .toList());
        }
    }
}
