package io.qlora.cuda.driver;

import java.io.File;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.nio.file.DirectoryStream;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;

/**
 * One of CUDA's libraries, looked for on the first use: the file or folder that a property names, CUDA's own folders, then
 * wherever the system looks, and last where containers and Python's packages have them. Never unloaded. The generated bindings find their functions here.
 */
public final class NativeLibrary implements SymbolLookup {

    /** The driver API, which comes with the card's driver and is all that is needed. */
    public static final NativeLibrary CUDA =
            new NativeLibrary("qlora.cuda.driver", List.of("libcuda.so.1", "libcuda.so"), List.of("nvcuda.dll"), "");

    /** The run-time compiler, of CUDA's toolkit or of torch's packages. */
    public static final NativeLibrary NVRTC = new NativeLibrary(
            "qlora.cuda.nvrtc",
            List.of("libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"),
            List.of("nvrtc64_130_0.dll", "nvrtc64_120_0.dll", "nvrtc64_112_0.dll"),
            "*nvrtc-builtins{.so*,64_*.dll}");

    /** NVIDIA's matrix products. */
    public static final NativeLibrary CUBLAS_LT = new NativeLibrary(
            "qlora.cuda.cublaslt",
            List.of("libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11"),
            List.of("cublasLt64_13.dll", "cublasLt64_12.dll", "cublasLt64_11.dll"),
            "");

    /** Where a container's host and Windows, for its Linux, put the driver. */
    private static final List<Path> CONTAINERS =
            List.of(Path.of("/usr/local/nvidia/lib64"), Path.of("/usr/lib/wsl/lib"));

    private static final int MOST_LINKS = 8;

    private static final boolean WINDOWS = System.getProperty("os.name").startsWith("Windows");

    private final String property;
    private final List<String> names;
    private final String companion;
    private final List<String> tried = new ArrayList<>();
    private SymbolLookup symbols; // null until found
    private String source;
    private boolean searched;

    private NativeLibrary(String property, List<String> linux, List<String> windows, String companion) {
        this.property = property;
        this.names = System.getProperty("os.name").startsWith("Windows") ? windows : linux;
        this.companion = companion;
    }

    /** Whether the library is there. Loads it, if this is the first question; a file that is named may come later. */
    public synchronized boolean available() {
        if (!searched || (symbols == null && System.getProperty(property) != null)) {
            searched = true;
            tried.clear();
            search();
        }
        return symbols != null;
    }

    /** What was loaded, or what was tried in vain, for messages. */
    public synchronized String description() {
        return available()
                ? source
                : names.getFirst() + " was not found (tried " + String.join(", ", tried) + "; -D" + property
                        + "=FILE names another)";
    }

    /** The function of this name, if the library, which must be there, has it. */
    @Override
    public Optional<MemorySegment> find(String name) {
        if (!available()) {
            throw new CudaException(name, description());
        }
        return symbols.find(name);
    }

    private void search() {
        String given = System.getProperty(property);
        if (given != null) {
            loadFile(given);
            return; // whoever names a file wants that one, or to know that it is missing
        }
        loadFrom(folders());
        for (String name : names) {
            if (symbols == null) {
                load(name);
            }
        }
        if (symbols == null && !WINDOWS) {
            loadFrom(CONTAINERS);
            loadFrom(packages(System.getenv("PATH")));
        }
    }

    private void loadFrom(List<Path> folders) {
        for (Path folder : folders) {
            for (String name : names) {
                if (symbols == null && Files.exists(folder.resolve(name))) {
                    loadFile(folder.resolve(name).toString());
                }
            }
        }
    }

    private static List<Path> folders() {
        List<Path> folders = new ArrayList<>();
        for (String variable : List.of("CUDA_HOME", "CUDA_PATH")) {
            String home = System.getenv(variable);
            if (home != null && !home.isBlank()) {
                folders.add(Path.of(home, "lib64"));
                folders.add(Path.of(home, "bin"));
                folders.add(Path.of(home, "bin", "x64"));
            }
        }
        if (!WINDOWS) {
            folders.add(Path.of("/usr/local/cuda/lib64"));
        }
        return folders;
    }

    /** Where torch and its like keep NVIDIA's libraries: the packages of every python3 on this path. */
    static List<Path> packages(String path) {
        List<Path> found = new ArrayList<>();
        for (String folder : path == null ? new String[0] : path.split(File.pathSeparator)) {
            try {
                Path python = Path.of(folder, "python3").toAbsolutePath();
                for (int link = 0; link < MOST_LINKS && Files.isExecutable(python); link++) { // of an environment, too
                    for (Path version : matching(python.getParent().resolveSibling("lib"), "python3*")) {
                        Path all = version.resolve("site-packages").resolve("nvidia");
                        matching(all, "*").forEach(each -> found.add(each.resolve("lib")));
                    }
                    if (!Files.isSymbolicLink(python)) {
                        break;
                    }
                    python = python.resolveSibling(Files.readSymbolicLink(python))
                            .normalize();
                }
            } catch (InvalidPathException | IOException e) {
                continue; // nothing to be found there
            }
        }
        return found.stream().distinct().toList();
    }

    private static List<Path> matching(Path folder, String glob) throws IOException {
        List<Path> found = new ArrayList<>();
        if (Files.isDirectory(folder)) {
            try (DirectoryStream<Path> files = Files.newDirectoryStream(folder, glob)) {
                files.forEach(found::add);
            }
        }
        Collections.sort(found);
        return found;
    }

    private void loadFile(String name) {
        try {
            Path file = Path.of(name);
            loadCompanion(file.toAbsolutePath().getParent());
            symbols = SymbolLookup.libraryLookup(file, Arena.global());
            source = name;
        } catch (IllegalArgumentException | IOException e) {
            tried.add(name);
        }
    }

    private void load(String name) {
        try {
            symbols = SymbolLookup.libraryLookup(name, Arena.global());
            source = name;
        } catch (IllegalArgumentException e) {
            tried.add(name);
        }
    }

    /** NVRTC opens its builtins by bare name: loaded first, by path, they are found wherever they lie. */
    private void loadCompanion(Path folder) throws IOException {
        if (companion.isEmpty() || folder == null) {
            return;
        }
        for (Path file : matching(folder, companion)) {
            try {
                if (!file.getFileName().toString().contains("alt")) {
                    SymbolLookup.libraryLookup(file, Arena.global());
                }
            } catch (IllegalArgumentException e) {
                continue; // NVRTC says so itself where it misses them
            }
        }
    }
}
