package io.qlora.cuda.compile;

import io.qlora.engine.files.AtomicFiles;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.stream.Collectors;

/**
 * What was made for a card, on disk, a file each, named by a digest of everything the result depends on: compiled kernels,
 * measured routes. A file begins with the digest of what follows, so that a damaged one is noticed, and made anew. A folder
 * that cannot be used costs the time to make it, and a warning, once.
 */
public final class CodeCache {

    private static final System.Logger LOG = System.getLogger(CodeCache.class.getName());
    private static final int DIGEST_BYTES = 32;

    private final Path folder;
    private boolean warned;

    CodeCache(Path folder) {
        this.folder = folder;
    }

    /** {@code -Dqlora.cuda.cache}, or the user's cache folder. */
    public static CodeCache ofUser() {
        String given = System.getProperty("qlora.cuda.cache");
        if (given != null) {
            return new CodeCache(Path.of(given));
        }
        String xdg = System.getenv("XDG_CACHE_HOME");
        Path caches = xdg == null || xdg.isBlank() ? Path.of(System.getProperty("user.home"), ".cache") : Path.of(xdg);
        return new CodeCache(caches.resolve("qlora").resolve("cuda"));
    }

    /** What was kept under {@code key}, or what {@code make} makes, which is then kept. */
    byte[] get(String key, Supplier<byte[]> make) {
        return find(key).orElseGet(() -> {
            byte[] made = make.get();
            put(key, made);
            return made;
        });
    }

    /** What was kept under {@code key}, if it is whole. */
    public Optional<byte[]> find(String key) {
        return Optional.ofNullable(read(file(key)));
    }

    /** Keeps {@code content} in place of what was kept under {@code key}. */
    public void put(String key, byte[] content) {
        write(file(key), content);
    }

    private Path file(String key) {
        return folder.resolve(hex(key) + ".bin");
    }

    private static String hex(String text) {
        return HexFormat.of().formatHex(digest(text.getBytes(StandardCharsets.UTF_8)));
    }

    /** Something that differs when the kernels of these units do, for a key of what depends on their speed. */
    public static String stateOfKernels(String... units) {
        return hex(Arrays.stream(units).map(KernelSources::text).collect(Collectors.joining()));
    }

    private byte[] read(Path file) {
        try {
            byte[] bytes = Files.exists(file) ? Files.readAllBytes(file) : new byte[0];
            if (bytes.length <= DIGEST_BYTES) {
                return null;
            }
            byte[] content = Arrays.copyOfRange(bytes, DIGEST_BYTES, bytes.length);
            return Arrays.equals(digest(content), 0, DIGEST_BYTES, bytes, 0, DIGEST_BYTES) ? content : null;
        } catch (IOException e) {
            warn(e);
            return null;
        }
    }

    private void write(Path file, byte[] content) {
        byte[] bytes = Arrays.copyOf(digest(content), DIGEST_BYTES + content.length);
        System.arraycopy(content, 0, bytes, DIGEST_BYTES, content.length);
        try {
            Files.createDirectories(folder);
            AtomicFiles.write(file, bytes);
        } catch (IOException e) {
            warn(e);
        }
    }

    private void warn(IOException e) {
        if (!warned) {
            warned = true;
            LOG.log(
                    System.Logger.Level.WARNING,
                    "compiled kernels are not kept, they will be compiled again next time: " + folder
                            + " cannot be used (" + e + "); -Dqlora.cuda.cache names another folder");
        }
    }

    private static byte[] digest(byte[] bytes) {
        try {
            return MessageDigest.getInstance("SHA-256").digest(bytes);
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e); // every JDK has it
        }
    }
}
