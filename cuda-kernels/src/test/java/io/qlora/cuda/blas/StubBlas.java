package io.qlora.cuda.blas;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.qlora.cuda.emulation.Toolchain;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;

/** A library that multiplies on the host, in the places of cuBLASLt and of cuBLAS, made by gcc. */
public final class StubBlas {

    private static final StubBlas LT = of("libcublasLt.so.13", false);
    private static final StubBlas CUBLAS = of("libcublas.so.12", true);

    private final SymbolLookup symbols;

    private StubBlas(SymbolLookup symbols) {
        this.symbols = symbols;
    }

    /** The one that takes this library's place, in which nothing has failed; skips the test where gcc is missing. */
    public static StubBlas install(Blas blas) {
        StubBlas stub = blas == Blas.CUBLASLT ? LT : CUBLAS;
        assumeTrue(stub != null, "gcc is missing: products are not tested against a stub of cuBLAS");
        stub.set(false, false);
        return stub;
    }

    private static StubBlas of(String name, boolean versioned) {
        if (!Toolchain.has("gcc")) {
            return null;
        }
        try {
            Path library = Toolchain.output("stub/" + name);
            Path versions = Toolchain.output("stub/" + name + ".versions");
            Files.writeString(versions, versioned ? name + " { global: *; };" : "{ global: *; };");
            Toolchain.run(
                    "gcc",
                    "-shared",
                    "-fPIC",
                    "-O1",
                    "-Wl,-soname," + name,
                    "-Wl,--version-script," + versions,
                    "-o",
                    library.toString(),
                    Toolchain.source("stub_cublas.c").toString());
            return new StubBlas(SymbolLookup.libraryLookup(library, Arena.global()));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Has products fail from now on, or no algorithm be found; forgets what it counted. */
    public void set(boolean fail, boolean refuse) {
        call(
                "stub_set",
                FunctionDescriptor.ofVoid(ValueLayout.JAVA_INT, ValueLayout.JAVA_INT),
                fail ? 1 : 0,
                refuse ? 1 : 0);
    }

    /** What it counted: {@code live} descriptions, {@code products}, {@code queries} for an algorithm; or the {@code stream}. */
    public long count(String what) {
        return (long) call("stub_" + what, FunctionDescriptor.of(ValueLayout.JAVA_LONG));
    }

    private Object call(String function, FunctionDescriptor type, Object... arguments) {
        try {
            return Linker.nativeLinker()
                    .downcallHandle(symbols.findOrThrow(function), type)
                    .invokeWithArguments(arguments);
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }
}
