package io.qlora.engine.files;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AtomicFilesTest {

    @TempDir
    Path directory;

    private List<String> names(Path in) throws IOException {
        try (Stream<Path> list = Files.list(in)) {
            return list.map(p -> p.getFileName().toString()).sorted().toList();
        }
    }

    @Test
    void replacesAFileAndLeavesNothingBeside() throws IOException {
        Path file = Files.writeString(directory.resolve("a.json"), "old");
        AtomicFiles.write(file, "new");
        assertEquals("new", Files.readString(file));
        assertEquals(List.of("a.json"), names(directory));
    }

    @Test
    void makesTheDirectoriesItNeeds() throws IOException {
        Path file = directory.resolve("x/y/a.json");
        AtomicFiles.write(file, "new");
        assertEquals("new", Files.readString(file));
    }

    @Test
    void failureLeavesTheOldFile() throws IOException {
        Path file = Files.writeString(directory.resolve("a.json"), "old");
        IOException e = assertThrows(
                IOException.class,
                () -> AtomicFiles.write(file, channel -> {
                    AtomicFiles.writeFully(channel, ByteBuffer.wrap(new byte[] {1, 2}));
                    throw new IOException("No space left on device");
                }));
        assertEquals(
                file + ": cannot be written, and what was there before is untouched: No space left on device",
                e.getMessage());
        assertEquals("old", Files.readString(file));
        assertEquals(List.of("a.json"), names(directory));
    }

    @Test
    void fileWhereADirectoryShouldBeIsNamed() throws IOException {
        Path file = Files.writeString(directory.resolve("a"), "old");
        IOException e = assertThrows(IOException.class, () -> AtomicFiles.write(file.resolve("b"), "new"));
        assertEquals(file.resolve("b").toString(), e.getMessage().split(": ")[0]);
    }

    @Test
    void newDirectoryAppearsWhole() throws IOException {
        Path target = directory.resolve("adapter");
        AtomicFiles.writeDirectory(target, staging -> {
            Files.writeString(staging.resolve("a"), "1");
            assertFalse(Files.exists(target));
            Files.writeString(staging.resolve("b"), "2");
        });
        assertEquals(List.of("a", "b"), names(target));
        assertEquals(List.of("adapter"), names(directory));
    }

    @Test
    void filesOfADirectoryThatIsThereAreReplacedOnceAllAreWritten() throws IOException {
        Path target = Files.createDirectory(directory.resolve("adapter"));
        Files.writeString(target.resolve("a"), "old");
        Files.writeString(target.resolve("other"), "kept");
        AtomicFiles.writeDirectory(target, staging -> {
            AtomicFiles.write(staging.resolve("a"), "new");
            assertEquals("old", Files.readString(target.resolve("a")));
        });
        assertEquals("new", Files.readString(target.resolve("a")));
        assertEquals(List.of("a", "other"), names(target));
    }

    @Test
    void failureInADirectoryLeavesItAsItWas() throws IOException {
        Path target = Files.createDirectory(directory.resolve("adapter"));
        Files.writeString(target.resolve("a"), "old");
        for (Path each : List.of(target, directory.resolve("fresh"))) {
            IOException e = assertThrows(
                    IOException.class,
                    () -> AtomicFiles.writeDirectory(each, staging -> {
                        AtomicFiles.write(staging.resolve("a"), "new");
                        AtomicFiles.write(staging.resolve("b"), channel -> {
                            throw new IOException("No space left on device");
                        });
                    }));
            assertEquals(
                    each + ": cannot be written, and what was there before is untouched: No space left on device",
                    e.getMessage());
        }
        assertEquals("old", Files.readString(target.resolve("a")));
        assertEquals(List.of("a"), names(target));
        assertEquals(List.of("adapter"), names(directory));
    }
}
