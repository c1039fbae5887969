package io.qlora.cuda.compile;

import io.qlora.cuda.CodeSource;
import io.qlora.cuda.driver.NativeLibrary;
import io.qlora.cuda.jextract.nvrtc.LibNvrtc;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/** The kernels compiled for the card at hand by NVRTC, CUDA's run-time compiler, and kept on disk. */
final class NvrtcCode implements CodeSource {

    private static final System.Logger LOG = System.getLogger(NvrtcCode.class.getName());

    private final String architecture;
    private final CodeCache cache;
    private final CodeSource otherwise; // or null
    private final String version;

    /**
     * Code for one kind of card.
     *
     * @param capability 10·major + minor
     * @param otherwise serves what this NVRTC does not compile, since it does not know the card, say; or null
     */
    NvrtcCode(int capability, CodeCache cache, CodeSource otherwise) {
        this.architecture = architecture(capability);
        this.cache = cache;
        this.otherwise = otherwise;
        this.version = version();
    }

    /** Whether NVRTC is there. */
    static boolean available() {
        return NativeLibrary.NVRTC.available();
    }

    /** Hopper's own instructions are asked for by an {@code a}. */
    static String architecture(int capability) {
        return "sm_" + capability + (capability == 90 ? "a" : "");
    }

    @Override
    public String name() {
        return "NVRTC " + version + " for " + architecture;
    }

    @Override
    public byte[] image(String unit) {
        String text = KernelSources.text(unit);
        List<String> options = List.of("--gpu-architecture=" + architecture, "--std=c++17");
        try {
            return cache.get(String.join("\n", version, options.toString(), text), () -> compile(unit, text, options));
        } catch (IllegalStateException e) {
            if (otherwise == null) {
                throw e;
            }
            LOG.log(System.Logger.Level.WARNING, e.getMessage() + "; the jar's own code is used");
            return otherwise.image(unit);
        }
    }

    private static String version() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment parts = arena.allocate(ValueLayout.JAVA_INT, 2);
            check(LibNvrtc.nvrtcVersion(parts, parts.asSlice(4)), "nvrtcVersion");
            return parts.getAtIndex(ValueLayout.JAVA_INT, 0) + "." + parts.getAtIndex(ValueLayout.JAVA_INT, 1);
        }
    }

    private static byte[] compile(String unit, String text, List<String> options) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment handle = arena.allocate(ValueLayout.ADDRESS);
            MemorySegment none = MemorySegment.NULL;
            int created = LibNvrtc.nvrtcCreateProgram(
                    handle, arena.allocateFrom(text), arena.allocateFrom(unit + ".cu"), 0, none, none);
            check(created, "nvrtcCreateProgram");
            MemorySegment program = handle.get(ValueLayout.ADDRESS, 0);
            try {
                MemorySegment list = arena.allocate(ValueLayout.ADDRESS, options.size());
                for (int i = 0; i < options.size(); i++) {
                    list.setAtIndex(ValueLayout.ADDRESS, i, arena.allocateFrom(options.get(i)));
                }
                int compiled = LibNvrtc.nvrtcCompileProgram(program, options.size(), list);
                if (compiled != 0) {
                    throw new IllegalStateException(NativeLibrary.NVRTC.description() + " did not compile " + unit
                            + ".cu with " + options + ": " + error(compiled) + ", "
                            + log(program, arena).strip() + "; -Dqlora.cuda.nvrtc=FILE names another NVRTC");
                }
                MemorySegment size = arena.allocate(ValueLayout.JAVA_LONG);
                check(LibNvrtc.nvrtcGetCUBINSize(program, size), "nvrtcGetCUBINSize");
                MemorySegment cubin = arena.allocate(size.get(ValueLayout.JAVA_LONG, 0));
                check(LibNvrtc.nvrtcGetCUBIN(program, cubin), "nvrtcGetCUBIN");
                return cubin.toArray(ValueLayout.JAVA_BYTE);
            } finally {
                check(LibNvrtc.nvrtcDestroyProgram(handle), "nvrtcDestroyProgram");
            }
        }
    }

    private static String log(MemorySegment program, Arena arena) {
        MemorySegment size = arena.allocate(ValueLayout.JAVA_LONG);
        check(LibNvrtc.nvrtcGetProgramLogSize(program, size), "nvrtcGetProgramLogSize");
        MemorySegment log = arena.allocate(Math.max(1, size.get(ValueLayout.JAVA_LONG, 0)));
        check(LibNvrtc.nvrtcGetProgramLog(program, log), "nvrtcGetProgramLog");
        return log.getString(0);
    }

    private static void check(int code, String function) {
        if (code != 0) {
            throw new IllegalStateException(function + ": " + error(code));
        }
    }

    private static String error(int code) {
        return LibNvrtc.nvrtcGetErrorString(code).reinterpret(Long.MAX_VALUE).getString(0) + " (" + code + ")";
    }
}
