package io.qlora.cuda.driver;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class NativeLibraryTest {

    @TempDir
    Path folder;

    @Test
    void librariesOfPythonsPackagesAreFoundBesideThePythonOnThePath() throws IOException {
        Path bin = Files.createDirectories(folder.resolve("venv/bin"));
        Path nvidia = folder.resolve("venv/lib/python3.12/site-packages/nvidia");
        Files.createDirectories(nvidia.resolve("cu13/lib"));
        Files.createDirectories(nvidia.resolve("cublas/lib"));
        String path =
                String.join(File.pathSeparator, "", folder.resolve("missing").toString(), bin.toString());
        assertEquals(List.of(), NativeLibrary.packages(path), "there is no python3");
        assertTrue(Files.createFile(bin.resolve("python3")).toFile().setExecutable(true));
        List<Path> expected = List.of(nvidia.resolve("cu13/lib"), nvidia.resolve("cublas/lib"));
        assertEquals(expected, NativeLibrary.packages(path));
        Path elsewhere = Files.createDirectories(folder.resolve("usr/bin"));
        Files.createSymbolicLink(elsewhere.resolve("python3"), Path.of("../../venv/bin/python3"));
        assertEquals(expected, NativeLibrary.packages(elsewhere + File.pathSeparator + bin), "each once");
        assertEquals(List.of(), NativeLibrary.packages(null));
    }
}
