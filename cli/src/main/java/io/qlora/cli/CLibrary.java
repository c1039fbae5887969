package io.qlora.cli;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.util.Optional;
import java.util.stream.Stream;

/** What the C library is asked because Java does not tell. */
final class CLibrary {

    private CLibrary() {}

    /**
     * Whether a person sees what is written to a stream; empty if that cannot be asked.
     *
     * @param descriptor 1 for standard output, 2 for standard error
     */
    static Optional<Boolean> isTerminal(int descriptor) {
        Linker linker = Linker.nativeLinker();
        Optional<MemorySegment> isatty = Stream.of("isatty", "_isatty")
                .flatMap(name -> linker.defaultLookup().find(name).stream())
                .findFirst();
        if (isatty.isEmpty()) {
            return Optional.empty();
        }
        try {
            var function = linker.downcallHandle(isatty.get(), FunctionDescriptor.of(JAVA_INT, JAVA_INT));
            return Optional.of((int) function.invokeExact(descriptor) != 0);
        } catch (IllegalCallerException e) { // the JVM's arguments forbid it
            return Optional.empty();
        } catch (Error | RuntimeException e) {
            throw e;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }
}
