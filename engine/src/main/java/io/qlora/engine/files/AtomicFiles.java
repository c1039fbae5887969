package io.qlora.engine.files;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;
import java.util.stream.Stream;

/**
 * Files that are never half-written: each is written beside its place, synced, and renamed. Until then, and whatever
 * fails, what was there before stays; what was begun is deleted.
 */
public final class AtomicFiles {

    private AtomicFiles() {}

    /** What writes a file. */
    @FunctionalInterface
    public interface Content {
        void writeTo(FileChannel channel) throws IOException;
    }

    /** What fills a directory. */
    @FunctionalInterface
    public interface DirectoryContent {
        void writeTo(Path directory) throws IOException;
    }

    /** Writes UTF-8 text. */
    public static void write(Path target, String text) throws IOException {
        write(target, text.getBytes(StandardCharsets.UTF_8));
    }

    /** Writes bytes. */
    public static void write(Path target, byte[] bytes) throws IOException {
        write(target, channel -> writeFully(channel, ByteBuffer.wrap(bytes)));
    }

    /**
     * Writes whatever {@code content} writes. The directory is made if it is missing.
     *
     * @throws IOException in a sentence that names {@code target}, if the file or its directory cannot be written, or from
     *     {@code content}
     */
    public static void write(Path target, Content content) throws IOException {
        Path beside = beside(target);
        try {
            Files.createDirectories(beside.getParent());
            try (FileChannel channel =
                    FileChannel.open(beside, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
                content.writeTo(channel);
                channel.force(true);
            }
            move(beside, target);
        } catch (IOException e) {
            throw FileErrors.writing(target, e);
        } finally {
            if (Files.exists(beside)) {
                Files.delete(beside);
            }
        }
        syncWritten(target);
    }

    /**
     * Writes a directory of plain files. One that is not there appears whole, in one rename; in one that is, the new files
     * replace those of their names once all are written, and others stay.
     *
     * @throws IOException as {@link #write(Path, Content)}; where files could neither be replaced nor all put back, it says
     *     where the old ones are
     */
    public static void writeDirectory(Path target, DirectoryContent content) throws IOException {
        writeDirectory(target, content, AtomicFiles::move);
    }

    static void writeDirectory(Path target, DirectoryContent content, Replacement.Move move) throws IOException {
        boolean fresh = !Files.exists(target, LinkOption.NOFOLLOW_LINKS);
        // Inside a directory that is there, since its parent may be another file system or not ours to write.
        Path staging = fresh ? beside(target) : beside(target.resolve("staging"));
        try {
            Files.createDirectories(staging);
            content.writeTo(staging);
            syncDirectory(staging);
            if (fresh) {
                Files.move(staging, target, StandardCopyOption.ATOMIC_MOVE);
            } else {
                Path aside = beside(target.resolve("replaced"));
                new Replacement(target, aside, move).replaceBy(list(staging));
            }
        } catch (Replacement.NotRestoredException e) {
            throw FileErrors.replacing(target, e.aside(), e);
        } catch (IOException e) {
            throw FileErrors.writing(target, e);
        } finally {
            deleteDirectory(staging);
        }
        if (fresh) {
            syncWritten(target);
        }
    }

    /** Writes all that remains in {@code bytes}. */
    public static void writeFully(FileChannel channel, ByteBuffer bytes) throws IOException {
        while (bytes.hasRemaining()) {
            channel.write(bytes);
        }
    }

    // Not Files.createTempFile, whose files only their owner may read.
    private static Path beside(Path target) {
        Path absolute = target.toAbsolutePath().normalize();
        String random = Long.toHexString(ThreadLocalRandom.current().nextLong());
        return absolute.resolveSibling("." + absolute.getFileName() + "." + random + ".tmp");
    }

    private static void move(Path from, Path to) throws IOException {
        Files.move(from, to, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    }

    private static void syncWritten(Path target) throws IOException {
        try {
            syncDirectory(target.toAbsolutePath().normalize().getParent());
        } catch (IOException e) {
            throw FileErrors.syncing(target, e);
        }
    }

    // A rename is durable once its directory is. Windows cannot open directories, and needs no such thing.
    static void syncDirectory(Path directory) throws IOException {
        if (FileSystems.getDefault().supportedFileAttributeViews().contains("posix")) {
            try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
                channel.force(true);
            }
        }
    }

    static List<Path> list(Path directory) throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            return files.sorted().toList();
        }
    }

    static void deleteDirectory(Path directory) throws IOException {
        if (Files.exists(directory)) {
            for (Path file : list(directory)) {
                Files.delete(file);
            }
            Files.delete(directory);
        }
    }
}
