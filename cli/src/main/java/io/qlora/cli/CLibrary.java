package io.qlora.cli;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.Optional;
import java.util.stream.Stream;

/** What the C library is asked for because Java has no name for it. Where that has none either, nothing is done. */
final class CLibrary {

    /** The number of SIGINT, which is Ctrl-C, everywhere. */
    private static final int SIGINT = 2;

    /** What a signal does where nobody has said otherwise: that one ends the process. */
    private static final MemorySegment SIG_DFL = MemorySegment.NULL;

    private CLibrary() {}

    /**
     * Whether a person sees what is written to a stream; empty if that is not known.
     *
     * @param descriptor 1 for standard output, 2 for standard error
     */
    static Optional<Boolean> isTerminal(int descriptor) {
        Optional<MethodHandle> isatty = function(FunctionDescriptor.of(JAVA_INT, JAVA_INT), "isatty", "_isatty");
        return isatty.map(function -> (int) call(function, descriptor) != 0);
    }

    /** From now on the next Ctrl-C ends the process at once, whatever the JVM does; returns false if that cannot be had. */
    static boolean endAtNextInterrupt() {
        Optional<MethodHandle> signal = function(FunctionDescriptor.of(ADDRESS, JAVA_INT, ADDRESS), "signal");
        signal.ifPresent(function -> call(function, SIGINT, SIG_DFL));
        return signal.isPresent();
    }

    /** A function by the first of its names that there is, if it may be called. */
    private static Optional<MethodHandle> function(FunctionDescriptor type, String... names) {
        Linker linker = Linker.nativeLinker();
        try {
            return Stream.of(names)
                    .flatMap(name -> linker.defaultLookup().find(name).stream())
                    .findFirst()
                    .map(found -> linker.downcallHandle(found, type));
        } catch (IllegalCallerException e) {
            return Optional.empty(); // forbidden by the JVM's arguments
        }
    }

    private static Object call(MethodHandle function, Object... arguments) {
        try {
            return function.invokeWithArguments(arguments);
        } catch (Error | RuntimeException e) {
            throw e;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }
}
