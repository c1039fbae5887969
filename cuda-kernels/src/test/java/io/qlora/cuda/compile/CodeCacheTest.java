package io.qlora.cuda.compile;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CodeCacheTest {

    private static final byte[] CODE = {1, 2, 3, 4, 5};

    @TempDir
    Path folder;

    private final AtomicInteger made = new AtomicInteger();

    private byte[] get(String key) {
        return new CodeCache(folder.resolve("a/b")).get(key, () -> {
            made.incrementAndGet();
            return CODE.clone();
        });
    }

    private Path onlyFile() throws IOException {
        try (Stream<Path> files = Files.list(folder.resolve("a/b"))) {
            List<Path> all = files.toList();
            assertEquals(1, all.size(), "nothing but the kept code is left: " + all);
            return all.getFirst();
        }
    }

    @Test
    void whatWasMadeOnceIsKept() throws IOException {
        assertArrayEquals(CODE, get("key"));
        assertArrayEquals(CODE, get("key"));
        assertEquals(1, made.get());
        onlyFile();
    }

    @Test
    void anotherKeyIsMadeForItself() {
        get("key");
        get("other");
        assertEquals(2, made.get());
    }

    @Test
    void aTruncatedFileIsMadeAnew() throws IOException {
        get("key");
        byte[] bytes = Files.readAllBytes(onlyFile());
        for (int length : new int[] {0, 7, 32, bytes.length - 1}) {
            made.set(0);
            Files.write(onlyFile(), Arrays.copyOf(bytes, length));
            assertArrayEquals(CODE, get("key"));
            assertEquals(1, made.get(), "cut to " + length + " bytes");
            assertArrayEquals(bytes, Files.readAllBytes(onlyFile()));
        }
    }

    @Test
    void aDamagedFileIsMadeAnew() throws IOException {
        get("key");
        byte[] bytes = Files.readAllBytes(onlyFile());
        bytes[bytes.length - 1] ^= 1;
        Files.write(onlyFile(), bytes);
        assertArrayEquals(CODE, get("key"));
        assertEquals(2, made.get());
    }

    @Test
    void aFolderThatCannotBeMadeCostsNothingButTheTime() throws IOException {
        Files.writeString(folder.resolve("a"), "a file where the folder should be");
        assertArrayEquals(CODE, get("key"));
        assertArrayEquals(CODE, get("key"));
        assertEquals(2, made.get());
    }
}
