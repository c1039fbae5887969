package io.qlora.engine.safetensors;

import io.qlora.engine.files.FileErrors;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

/** Files of a clone that was made without Git LFS: three lines that point to what the file should hold. */
public final class GitLfs {

    private static final byte[] POINTER = "version https://git-lfs".getBytes(StandardCharsets.US_ASCII);

    private GitLfs() {}

    /**
     * Requires {@code file} to hold what it is named for.
     *
     * @throws MalformedFileException if it is only a pointer
     */
    public static void requireContent(Path file) throws IOException {
        byte[] start;
        try (InputStream stream = Files.newInputStream(file)) {
            start = stream.readNBytes(POINTER.length);
        } catch (IOException e) {
            throw FileErrors.reading(file, e);
        }
        if (Arrays.equals(start, POINTER)) {
            throw new MalformedFileException(
                    file,
                    "found only Git LFS's pointer to it: run git lfs install and git lfs pull in its folder, or"
                            + " download it from the model's page");
        }
    }
}
