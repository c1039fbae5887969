package io.qlora.cuda.driver;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.qlora.cuda.emulation.Toolchain;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;

/** A driver library that remembers how it was called, made by gcc; it takes libcuda's place in the tests' JVM. */
final class StubDriver {

    private static final SymbolLookup STUB = load();

    private StubDriver() {}

    /** Has the bindings find the stub; skips the test where gcc is missing. */
    static void install() {
        assumeTrue(STUB != null, "gcc is missing: the bindings are not tested against a stub of the driver");
    }

    private static SymbolLookup load() {
        if (!Toolchain.has("gcc")) {
            return null;
        }
        try {
            Path library = Toolchain.output("stub/libcuda.so.1");
            Toolchain.run(
                    "gcc",
                    "-shared",
                    "-fPIC",
                    "-O1",
                    "-w",
                    "-Wl,-soname,libcuda.so.1",
                    "-o",
                    library.toString(),
                    Toolchain.source("stub_driver.c").toString());
            System.setProperty("qlora.cuda.driver", library.toString());
            return SymbolLookup.libraryLookup(library, Arena.global());
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    /** The calls since the last {@link #clear}, a line each. */
    static String log() {
        return ((MemorySegment) call("stub_log", FunctionDescriptor.of(ValueLayout.ADDRESS)))
                .reinterpret(Long.MAX_VALUE)
                .getString(0);
    }

    static void clear() {
        call("stub_clear", FunctionDescriptor.ofVoid());
    }

    /** Has {@code function} answer {@code code} from now on, and no other any error. */
    static void fail(String function, int code) {
        try (Arena arena = Arena.ofConfined()) {
            FunctionDescriptor type = FunctionDescriptor.ofVoid(ValueLayout.ADDRESS, ValueLayout.JAVA_INT);
            call("stub_fail", type, arena.allocateFrom(function), code);
        }
    }

    private static Object call(String function, FunctionDescriptor type, Object... arguments) {
        try {
            return Linker.nativeLinker()
                    .downcallHandle(STUB.findOrThrow(function), type)
                    .invokeWithArguments(arguments);
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }
}
