package io.qlora.trainer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OutputDirectoryTest {

    @TempDir
    Path folder;

    @Test
    void oneThatMayNotBeWrittenToIsNotLeftWithThoseAboveIt() throws IOException {
        Path there = Files.createDirectory(folder.resolve("there"));
        Path output = there.resolve("new/out");
        AccessDeniedException e =
                assertThrows(AccessDeniedException.class, () -> OutputDirectory.make(output, path -> false));
        assertEquals(output.toString(), e.getFile());
        assertFalse(Files.exists(there.resolve("new")));
        assertThrows(AccessDeniedException.class, () -> OutputDirectory.make(there, path -> false));
        assertTrue(Files.exists(there));
    }

    @Test
    void oneThatIsAlreadyThereIsNotTakenBack() throws IOException {
        Path output = Files.createDirectory(folder.resolve("out"));
        OutputDirectory.make(output).takeBack(new IOException());
        assertTrue(Files.exists(output));
    }

    @Test
    void whatHoldsSomethingIsNotTakenBack() throws IOException {
        Path output = folder.resolve("new/out");
        OutputDirectory made = OutputDirectory.make(output);
        Path precious = Files.writeString(folder.resolve("new/precious"), "x");
        IOException why = new IOException();
        made.takeBack(why);
        assertFalse(Files.exists(output));
        assertTrue(Files.exists(precious));
        assertEquals(1, why.getSuppressed().length);
    }

    @Test
    void aLinkToNowhereStays() throws IOException {
        Path link = Files.createSymbolicLink(folder.resolve("link"), folder.resolve("nowhere"));
        assertThrows(IOException.class, () -> OutputDirectory.make(link));
        assertTrue(Files.isSymbolicLink(link));
    }
}
