package io.qlora.trainer;

import io.qlora.engine.files.FileErrors;
import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;

/** The directory that a run leaves its results in: made, and taken back where nothing comes of the run. */
final class OutputDirectory {

    private final List<Path> made = new ArrayList<>(); // with those above it that were missing, the deepest first

    private OutputDirectory(Path path) {
        Path missing = path.toAbsolutePath();
        while (missing != null && !Files.exists(missing, LinkOption.NOFOLLOW_LINKS)) {
            made.add(missing);
            missing = missing.getParent();
        }
    }

    /**
     * Makes a directory, unless it is there.
     *
     * @throws IOException if it cannot be made or written to; nothing is then left of it
     */
    static OutputDirectory make(Path path) throws IOException {
        return make(path, Files::isWritable);
    }

    /** {@link #make(Path)}, with another judge of what can be written to. */
    static OutputDirectory make(Path path, Predicate<Path> writable) throws IOException {
        OutputDirectory output = new OutputDirectory(path);
        try {
            create(path);
            if (!writable.test(path)) {
                throw new AccessDeniedException(path.toString());
            }
        } catch (IOException e) {
            output.takeBack(e);
            throw e;
        }
        return output;
    }

    private static void create(Path path) throws IOException {
        try {
            Files.createDirectories(path);
        } catch (IOException e) {
            throw FileErrors.writing(path, e);
        }
    }

    /** Removes what was made, as far as it is empty; what keeps it from that is added to {@code why}. */
    void takeBack(Throwable why) {
        try {
            for (Path directory : made) {
                Files.deleteIfExists(directory);
            }
        } catch (IOException kept) {
            why.addSuppressed(kept);
        }
    }
}
