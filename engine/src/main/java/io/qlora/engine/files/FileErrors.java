package io.qlora.engine.files;

import java.io.IOException;
import java.nio.channels.ClosedByInterruptException;
import java.nio.channels.ClosedChannelException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;

/** What the system reports about files, in a sentence: its own exceptions often have the bare path for a message. */
public final class FileErrors {

    private FileErrors() {}

    /**
     * Requires that {@code file} is there and is no directory.
     *
     * @throws IOException naming the path and what it is instead
     */
    public static void requireFile(Path file) throws IOException {
        if (Files.isDirectory(file)) {
            throw new FileSystemException(file.toString(), null, "expected a file, found a directory");
        }
        if (Files.notExists(file)) {
            throw new NoSuchFileException(file.toString(), null, "no such file");
        }
    }

    /**
     * Requires that {@code directory} is there and is one.
     *
     * @throws IOException naming the path and what it is instead
     */
    public static void requireDirectory(Path directory) throws IOException {
        if (Files.notExists(directory)) {
            throw new NoSuchFileException(directory.toString(), null, "no such directory");
        }
        if (!Files.isDirectory(directory)) {
            throw new FileSystemException(directory.toString(), null, "expected a directory, found a file");
        }
    }

    /** {@code cause}, met while reading {@code file}, as a sentence that names it. */
    public static IOException reading(Path file, IOException cause) {
        return explained(file, "cannot be read", cause);
    }

    /** {@code cause}, met while writing {@code file}, as a sentence that names it and says what became of the old one. */
    public static IOException writing(Path file, IOException cause) {
        return explained(file, "cannot be written, and what was there before is untouched", cause);
    }

    /** {@code cause}, met while replacing files of {@code directory}, whose old ones could not all be put back. */
    static IOException replacing(Path directory, Path aside, IOException cause) {
        return explained(
                directory, "cannot be written, and of what was there before some files are in " + aside, cause);
    }

    /** {@code cause}, met after {@code file} was written, in making sure that it stays so. */
    static IOException syncing(Path file, IOException cause) {
        return explained(file, "is written, but may be lost should the power fail now", cause);
    }

    /** {@code cause}, met while adding to the end of {@code file}, as a sentence that names it. */
    public static IOException appending(Path file, IOException cause) {
        return explained(file, "cannot be written any further, and what it has so far stays", cause);
    }

    private static IOException explained(Path file, String what, IOException cause) {
        // A file of a directory that is being written has explained itself already, by a name that is not its last.
        IOException root = cause;
        while (root.getCause() instanceof IOException inner) {
            root = inner;
        }
        String reason = switch (root) {
            case AccessDeniedException denied -> "permission denied";
            case NoSuchFileException missing -> "no such file or directory";
            case FileSystemException e when e.getReason() != null -> e.getReason();
            case ClosedByInterruptException interrupted -> "the thread was interrupted";
            case ClosedChannelException closed -> "it has been closed";
            default -> root.getMessage() == null ? root.getClass().getSimpleName() : root.getMessage();
        };
        FileSystemException explained = new FileSystemException(file.toString(), null, what + ": " + reason);
        explained.initCause(cause);
        return explained;
    }
}
