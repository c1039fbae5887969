package io.qlora.cli;

import io.qlora.engine.files.AtomicFiles;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;

/**
 * What demos have written into a folder: each file's SHA-256 and name, as sha256sum has them, in a file beside them. The next
 * demo takes that away and nothing else. Links are never followed.
 */
final class DemoRecord {

    private static final String FILE = ".qlora-demo";

    private final Path root;
    private final List<Path> parts;

    /**
     * The record of a folder.
     *
     * @param root the folder, which need not be there
     * @param parts the files, and the folders of files, that demos write in it
     */
    DemoRecord(Path root, List<Path> parts) {
        this.root = root;
        this.parts = parts;
    }

    /** Whether a demo has been here. */
    boolean isThere() {
        return Files.isRegularFile(root.resolve(FILE), LinkOption.NOFOLLOW_LINKS);
    }

    /** Notes these parts as they are now, beside what was noted before. */
    void add(Path... written) throws IOException {
        Set<String> lines = new TreeSet<>(noted());
        for (Path file : found(List.of(written))) {
            if (Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS)) {
                lines.add(line(file));
            }
        }
        AtomicFiles.write(root.resolve(FILE), String.join("\n", lines) + "\n");
    }

    /**
     * Deletes what was noted.
     *
     * @throws UsageException if there is anything else in its place; nothing is deleted then
     */
    void clear() throws IOException {
        Set<String> noted = noted();
        Set<Path> found = found(parts);
        for (Path path : found) {
            if (!isOurs(path, noted)) {
                throw new UsageException("--output " + root + ": " + path
                        + " is not as an earlier demo left it; move it away, or name another --output");
            }
        }
        for (Path path : found.stream().sorted(Comparator.reverseOrder()).toList()) { // what is in a folder first
            Files.delete(path);
        }
        Files.delete(root.resolve(FILE));
    }

    private boolean isOurs(Path path, Set<String> noted) throws IOException {
        if (Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS)) {
            return parts.contains(path);
        }
        return Files.isRegularFile(path, LinkOption.NOFOLLOW_LINKS) && noted.contains(line(path));
    }

    private Set<String> noted() throws IOException {
        return isThere() ? Set.copyOf(Files.readAllLines(root.resolve(FILE))) : Set.of();
    }

    private static Set<Path> found(List<Path> parts) throws IOException {
        Set<Path> found = new TreeSet<>();
        for (Path part : parts) {
            if (Files.exists(part, LinkOption.NOFOLLOW_LINKS)) {
                try (Stream<Path> paths = Files.walk(part)) {
                    paths.forEach(found::add);
                }
            }
        }
        return found;
    }

    private String line(Path file) throws IOException {
        try {
            byte[] digest = MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(file));
            String name = root.relativize(file).toString().replace('\\', '/');
            return HexFormat.of().formatHex(digest) + "  " + name;
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e); // every Java has it
        }
    }
}
