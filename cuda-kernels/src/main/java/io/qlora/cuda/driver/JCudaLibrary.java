package io.qlora.cuda.driver;

import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.util.function.Supplier;

/**
 * Has JCuda load its native libraries, which it writes to the temporary folder under a name that never changes, unless such
 * a file is there already: whoever's, and however much of it. It is therefore given a folder of its own, which goes again.
 */
public final class JCudaLibrary {

    private static final String FOLDER = "java.io.tmpdir";

    private JCudaLibrary() {}

    /**
     * What {@code make} makes, which is the first to touch JCuda.
     *
     * @throws CudaException if JCuda's jar, its native library or the libcuda that this needs cannot be loaded
     */
    public static synchronized <T> T load(Supplier<T> make) {
        String before = System.getProperty(FOLDER);
        try {
            File folder = Files.createTempDirectory("qlora-jcuda").toFile();
            try {
                System.setProperty(FOLDER, folder.toString());
                return make.get();
            } finally {
                System.setProperty(FOLDER, before);
                delete(folder);
            }
        } catch (IOException e) {
            throw failure(
                    "the temporary folder " + before + " cannot be written to, -Djava.io.tmpdir=DIR names another");
        } catch (LinkageError e) {
            throw failure(reason(e));
        }
    }

    private static CudaException failure(String why) {
        return new CudaException(
                "JCuda", "its library could not be loaded (" + why + "); --cuda-binding panama needs none");
    }

    /** JCuda's message holds two stack traces: the system's own words are in the second, of its own copy of the library. */
    private static String reason(LinkageError e) {
        String said = e.getMessage() == null ? e.toString() : e.getMessage();
        return said.lines()
                .map(String::strip)
                .filter(line -> line.startsWith("java.") && line.contains(": "))
                .reduce((first, last) -> last)
                .map(line -> line.substring(line.indexOf(": ") + 2))
                .orElseGet(() -> said.lines().findFirst().orElse("").strip());
    }

    /** A library that is loaded needs its file no more; where the system thinks otherwise, the file stays. */
    private static void delete(File folder) {
        for (File file : folder.listFiles()) {
            file.delete();
        }
        folder.delete();
    }
}
