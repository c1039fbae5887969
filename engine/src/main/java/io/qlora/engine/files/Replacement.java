package io.qlora.engine.files;

import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;

/**
 * Files that take the places of others in a directory: all of them or none. The old ones are moved aside before the first
 * new one is moved in, so that a process that ends in between leaves some missing, but never old ones beside new ones.
 */
final class Replacement {

    private static final System.Logger LOG = System.getLogger(Replacement.class.getName());

    /** How a file gets from one name to another, over one that is there. */
    @FunctionalInterface
    interface Move {
        void move(Path from, Path to) throws IOException;
    }

    /** What was there before could not all be put back. Its cause is why anything had to be. */
    static final class NotRestoredException extends IOException {

        private static final long serialVersionUID = 1;

        private final transient Path aside;

        private NotRestoredException(Path aside, Exception cause) {
            super(cause);
            this.aside = aside;
        }

        /** Where the rest of it is. */
        Path aside() {
            return aside;
        }
    }

    private record Moved(Path from, Path to) {}

    private final Path target;
    private final Path aside;
    private final Move move;
    private final Deque<Moved> done = new ArrayDeque<>();

    /**
     * Nothing is moved yet.
     *
     * @param target the directory the files belong in
     * @param aside a name for a directory, on the same file system, that the old ones are in meanwhile
     */
    Replacement(Path target, Path aside, Move move) {
        this.target = target;
        this.aside = aside;
        this.move = move;
    }

    /**
     * Moves {@code files} to their places, and what was there aside.
     *
     * @throws NotRestoredException if one cannot be moved, nor all of the old ones be moved back: these are still aside
     * @throws IOException if one cannot be moved; the old ones are in their places
     */
    void replaceBy(List<Path> files) throws IOException {
        for (Path file : files) {
            requireNoDirectory(place(file));
        }
        Files.createDirectory(aside);
        try {
            for (Path file : files) {
                if (Files.exists(place(file), LinkOption.NOFOLLOW_LINKS)) {
                    move(place(file), aside.resolve(file.getFileName()));
                }
            }
            for (Path file : files) {
                move(file, place(file));
            }
            AtomicFiles.syncDirectory(target);
        } catch (IOException | RuntimeException e) {
            moveBack(e);
            throw e;
        }
        deleteOld();
    }

    private Path place(Path file) {
        return target.resolve(file.getFileName());
    }

    // It could be moved aside like a file, but then it would be deleted with all that is in it.
    private static void requireNoDirectory(Path place) throws IOException {
        if (Files.isDirectory(place, LinkOption.NOFOLLOW_LINKS)) {
            throw new FileSystemException(place.toString(), null, place.getFileName() + " is a directory there");
        }
    }

    private void move(Path from, Path to) throws IOException {
        move.move(from, to);
        done.push(new Moved(from, to));
    }

    // A new file that cannot be moved back does no harm if an old one is moved over it, or there was none.
    private void moveBack(Exception cause) throws IOException {
        for (Moved each : done) {
            try {
                move.move(each.to(), each.from());
            } catch (IOException e) {
                cause.addSuppressed(e);
            }
        }
        if (!AtomicFiles.list(aside).isEmpty()) {
            throw new NotRestoredException(aside, cause);
        }
        Files.delete(aside);
    }

    // The new ones are all in place: that the old ones take up room is no reason to fail.
    private void deleteOld() {
        try {
            AtomicFiles.deleteDirectory(aside);
        } catch (IOException e) {
            LOG.log(System.Logger.Level.WARNING, "{0} is not needed any more, but cannot be deleted: {1}", aside, e);
        }
    }
}
