package io.qlora.engine.files;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
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

    private static final List<String> ADAPTER = List.of("adapter_config.json", "adapter_model.safetensors");

    /** An adapter saved over an older one, whose renames go through {@code move}. Returns what it is refused with. */
    private String saveOver(Path target, Replacement.Move move) throws IOException {
        Files.createDirectory(target);
        Files.writeString(target.resolve(ADAPTER.getFirst()), "old");
        Files.writeString(target.resolve(ADAPTER.getLast()), "old");
        AtomicFiles.DirectoryContent content = staging -> {
            AtomicFiles.write(staging.resolve("README.md"), "new");
            AtomicFiles.write(staging.resolve(ADAPTER.getFirst()), "new");
            AtomicFiles.write(staging.resolve(ADAPTER.getLast()), "new");
        };
        return assertThrows(IOException.class, () -> AtomicFiles.writeDirectory(target, content, move))
                .getMessage();
    }

    /** Fails for the {@code n}th rename and, if {@code stays}, for those of the same file after it. */
    private static Replacement.Move failing(int n, boolean stays) {
        int[] count = new int[1];
        Path[] failed = new Path[1];
        return (from, to) -> {
            boolean again = stays && failed[0] != null && to.endsWith(failed[0]);
            if (++count[0] == n || again) {
                failed[0] = from.getFileName();
                throw new FileSystemException(from.toString(), null, "in use by another process");
            }
            Files.move(from, to, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        };
    }

    @Test
    void fileThatCannotBeReplacedLeavesTheOthersOfItsDirectoryAsTheyWere() throws IOException {
        for (int n = 1; n <= 5; n++) { // two old ones aside, three new ones in
            Path target = directory.resolve("adapter" + n);
            assertEquals(
                    target + ": cannot be written, and what was there before is untouched: in use by another process",
                    saveOver(target, failing(n, false)));
            assertEquals(ADAPTER, names(target));
            assertEquals("old", Files.readString(target.resolve(ADAPTER.getFirst())));
            assertEquals("old", Files.readString(target.resolve(ADAPTER.getLast())));
        }
    }

    @Test
    void whatCannotBePutBackIsNamed() throws IOException {
        Path target = directory.resolve("adapter");
        String message = saveOver(target, failing(5, true));
        List<String> names = names(target);
        Path aside = target.resolve(names.getFirst());
        assertEquals(
                target + ": cannot be written, and of what was there before some files are in " + aside
                        + ": in use by another process",
                message);
        assertEquals(List.of(names.getFirst(), ADAPTER.getFirst()), names);
        assertEquals("old", Files.readString(target.resolve(ADAPTER.getFirst())));
        assertEquals("old", Files.readString(aside.resolve(ADAPTER.getLast())));
    }

    @Test
    void directoryInTheWayOfAFileStays() throws IOException {
        Path target = Files.createDirectory(directory.resolve("adapter"));
        Files.writeString(target.resolve("a"), "old");
        Files.createDirectories(target.resolve("b/c"));
        IOException e = assertThrows(
                IOException.class,
                () -> AtomicFiles.writeDirectory(target, staging -> {
                    AtomicFiles.write(staging.resolve("a"), "new");
                    AtomicFiles.write(staging.resolve("b"), "new");
                }));
        assertEquals(
                target + ": cannot be written, and what was there before is untouched: b is a directory there",
                e.getMessage());
        assertEquals("old", Files.readString(target.resolve("a")));
        assertEquals(List.of("a", "b"), names(target));
        assertEquals(List.of("c"), names(target.resolve("b")));
    }
}
