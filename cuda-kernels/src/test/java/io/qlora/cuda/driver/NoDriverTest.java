package io.qlora.cuda.driver;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.cuda.emulation.Toolchain;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A machine without a driver, or with a file that is none: a sentence, and the JVM lives. In a JVM of its own. */
class NoDriverTest {

    @TempDir
    Path folder;

    /** What {@link #main} says when the driver is looked for in this file. */
    private static List<String> lines(Path driver) throws IOException {
        String said = Toolchain.run(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "-Dqlora.cuda.driver=" + driver,
                "-cp",
                System.getProperty("java.class.path"),
                NoDriverTest.class.getName());
        return said.lines().toList();
    }

    /** Looks for a card twice, then tries both bindings. */
    public static void main(String[] arguments) {
        for (int i = 0; i < 2; i++) {
            System.out.println(CudaProbe.run());
        }
        for (CudaBinding binding : CudaBinding.values()) {
            try (CudaDriver driver = binding.open()) {
                System.out.println(driver.binding());
            } catch (CudaException e) {
                System.out.println(e.getMessage());
            }
        }
    }

    @Test
    void aMissingLibraryIsNamedWithTheWayOut() throws IOException {
        Path missing = folder.resolve("libcuda.so.1");
        String why = "libcuda.so.1 was not found (tried " + missing + "; -Dqlora.cuda.driver=FILE names another)";
        List<String> lines = lines(missing);
        assertEquals("no GPU: the CUDA driver is not installed, " + why, lines.get(0));
        assertEquals(lines.get(0), lines.get(1));
        assertEquals("cuInit cannot be called: " + why, lines.get(2));
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
    void jcudaWhereItsLibraryCannotLoadSaysWhichBindingNeedsNone() throws IOException {
        String last = lines(folder.resolve("libcuda.so.1")).getLast();
        if (last.equals("jcuda")) {
            return; // there is a driver: JCuda looks for the system's
        }
        assertTrue(last.startsWith("JCuda cannot be called: its library could not be loaded ("), last);
        assertTrue(last.endsWith("); --cuda-binding panama needs none"), last);
    }
}
