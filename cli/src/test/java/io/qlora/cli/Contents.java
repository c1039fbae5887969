package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * The files below a directory, to the byte.
 *
 * @param files by their paths in it
 */
record Contents(Map<String, byte[]> files) {

    /** As they are now, but for some. */
    static Contents of(Path directory, String... without) throws IOException {
        Map<String, byte[]> files = new TreeMap<>();
        try (Stream<Path> found = Files.walk(directory)) {
            for (Path file : found.filter(Files::isRegularFile).toList()) {
                files.put(directory.relativize(file).toString(), Files.readAllBytes(file));
            }
        }
        files.keySet().removeAll(Arrays.asList(without));
        return new Contents(files);
    }

    Set<String> names() {
        return files.keySet();
    }

    /** Requires the same files of the same bytes. */
    void assertSame(Contents after) {
        assertEquals(names(), after.names());
        files.forEach((name, bytes) -> assertArrayEquals(bytes, after.files.get(name), name));
    }
}
