package io.qlora.cli;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.lang.module.ModuleFinder;
import java.nio.charset.Charset;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;

/**
 * Starts the JVM anew with the flags that full speed needs, and in a locale that knows all characters.
 *
 * <p>No manifest can add the incubator's vector module, so {@code java -jar qlora-engine.jar} begins without it. On Linux
 * and macOS the process then replaces itself, through {@code execv}: process id, streams, working folder and signals
 * stay what they were, and nobody outside can tell. Elsewhere, or where that fails, a child process does the work and
 * this one only passes on its exit code.
 *
 * <p>What the new JVM is given: this one's own arguments ({@code -Xmx}, {@code -D}, …) as the JVM itself reports them, the
 * class path, and the program's arguments. Those arguments already include what came by {@link #OPTION_VARIABLES
 * environment variables}, so these are taken out of the environment; kept, they would apply, and be announced, twice.
 *
 * <p>Without a locale of the user's own, as in containers, cron jobs and services, a JVM knows of ASCII alone: it reads all
 * else in arguments as question marks, and finds no file whose name has more. The new one is told that the encoding is
 * UTF-8, and given the arguments in the bytes they came in.
 *
 * <p>About signals: a new program starts with the mask of blocked signals of the thread that called {@code execv}. A Java
 * thread blocks only SIGQUIT, which the new JVM's own thread for it unblocks again; handlers are reset by the kernel.
 */
final class Relaunch {

    static final String VECTOR_MODULE = "jdk.incubator.vector";

    /** Set in the new JVM: whatever it finds, it does not start a third. */
    static final String MARK = "qlora.relaunched";

    private static final List<String> FLAGS =
            List.of("--add-modules=" + VECTOR_MODULE, "--enable-native-access=ALL-UNNAMED", "-D" + MARK + "=true");

    /**
     * Tensors are not on the heap, so little lives there; but until the compiler has been through the kernels their vectors
     * are objects, and a collector that may will let gigabytes of them lie. A small nursery keeps the process small.
     */
    private static final List<String> SMALL_HEAP = List.of("-XX:+UseSerialGC", "-Xmn48m");

    /** The variables from which a JVM or its launcher takes arguments. */
    private static final List<String> OPTION_VARIABLES =
            List.of("JDK_JAVA_OPTIONS", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS");

    /** The variable that overrules all others about the locale, and the locale of nobody's in UTF-8. */
    private static final String LOCALE_VARIABLE = "LC_ALL";

    private static final String UTF_8_LOCALE = "C.UTF-8";

    private Relaunch() {}

    /**
     * Runs {@link Main} in a JVM that has what this one lacks, if there is anything it lacks and a new one would have it.
     *
     * @return the exit code of the JVM that did the work; empty when this one is to do it
     */
    static OptionalInt ifWanted(String[] args) {
        Path java = Path.of(System.getProperty("java.home"), "bin", isWindows() ? "java.exe" : "java");
        if (!isWanted() || !Files.isExecutable(java)) {
            return OptionalInt.empty();
        }
        List<String> jvmArguments = ManagementFactory.getRuntimeMXBean().getInputArguments();
        if (jvmArguments.stream().anyMatch(Relaunch::isDebugger)) {
            return OptionalInt.empty();
        }
        List<String> command = command(java, jvmArguments, System.getProperty("java.class.path"), args);
        if (!isWindows()) {
            replaceProcess(command, args);
        }
        return runChild(command);
    }

    /** Whether something is missing but to be had, on a class path (a module path has its own launch line). */
    private static boolean isWanted() {
        return (ModuleLayer.boot().findModule(VECTOR_MODULE).isEmpty() || knowsAsciiAlone())
                && ModuleFinder.ofSystem().find(VECTOR_MODULE).isPresent()
                && !Main.class.getModule().isNamed()
                && !Boolean.getBoolean(MARK)
                && System.getProperty("org.graalvm.nativeimage.imagecode") == null;
    }

    private static boolean knowsAsciiAlone() {
        return encoding().equals(StandardCharsets.US_ASCII);
    }

    /** What the JVM takes arguments and the names of files to be written in, by the locale. */
    private static Charset encoding() {
        return Charset.forName(System.getProperty("sun.jnu.encoding"));
    }

    /** A debugger's connection belongs to this very JVM, and its port is taken. */
    private static boolean isDebugger(String jvmArgument) {
        return jvmArgument.startsWith("-agentlib:jdwp") || jvmArgument.startsWith("-Xrunjdwp");
    }

    /** Whether the user has opinions of his own on collector or nursery. */
    private static boolean choosesHeap(String jvmArgument) {
        return jvmArgument.matches("-XX:\\+Use\\w*GC|-Xmn.*|-XX:(Max)?NewSize=.*|-XX:NewRatio=.*");
    }

    static List<String> command(Path java, List<String> jvmArguments, String classPath, String[] args) {
        List<String> command = new ArrayList<>();
        command.add(java.toString());
        command.addAll(jvmArguments);
        command.addAll(FLAGS);
        if (jvmArguments.stream().noneMatch(Relaunch::choosesHeap)) {
            command.addAll(SMALL_HEAP);
        }
        command.addAll(List.of("-cp", classPath, Main.class.getName()));
        command.addAll(Arrays.asList(args));
        return List.copyOf(command);
    }

    /**
     * Returns only if the process could not be replaced.
     *
     * @param args what {@code command} ends with
     */
    private static void replaceProcess(List<String> command, String[] args) {
        List<byte[]> words = new ArrayList<>();
        command.subList(0, command.size() - args.length).forEach(word -> words.add(word.getBytes(encoding())));
        words.addAll(RawArguments.of(args, encoding()));
        Linker linker = Linker.nativeLinker();
        var unsetenv = linker.downcallHandle(
                linker.defaultLookup().findOrThrow("unsetenv"), FunctionDescriptor.of(JAVA_INT, ADDRESS));
        var setenv = linker.downcallHandle(
                linker.defaultLookup().findOrThrow("setenv"),
                FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS, JAVA_INT));
        var execv = linker.downcallHandle(
                linker.defaultLookup().findOrThrow("execv"), FunctionDescriptor.of(JAVA_INT, ADDRESS, ADDRESS));
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment argv = arena.allocate(ADDRESS, words.size() + 1L); // ends with the null it is filled with
            for (int i = 0; i < words.size(); i++) {
                argv.setAtIndex(ADDRESS, i, cString(words.get(i), arena));
            }
            for (String variable : OPTION_VARIABLES) {
                int _ = (int) unsetenv.invokeExact(arena.allocateFrom(variable));
            }
            if (knowsAsciiAlone()) {
                int _ = (int)
                        setenv.invokeExact(arena.allocateFrom(LOCALE_VARIABLE), arena.allocateFrom(UTF_8_LOCALE), 1);
            }
            int _ = (int) execv.invokeExact(argv.getAtIndex(ADDRESS, 0), argv);
        } catch (Error | RuntimeException e) {
            throw e;
        } catch (Throwable e) {
            throw new IllegalStateException(e);
        }
    }

    /** {@code bytes}, with the null that ends a string in C. */
    private static MemorySegment cString(byte[] bytes, Arena arena) {
        MemorySegment string = arena.allocate(bytes.length + 1L);
        MemorySegment.copy(bytes, 0, string, ValueLayout.JAVA_BYTE, 0, bytes.length);
        return string;
    }

    private static OptionalInt runChild(List<String> command) {
        ProcessBuilder builder = new ProcessBuilder(command).inheritIO();
        OPTION_VARIABLES.forEach(builder.environment()::remove);
        if (knowsAsciiAlone()) {
            builder.environment().put(LOCALE_VARIABLE, UTF_8_LOCALE);
        }
        try {
            Process child = builder.start();
            Runtime.getRuntime().addShutdownHook(new Thread(() -> follow(child)));
            return OptionalInt.of(child.waitFor());
        } catch (IOException e) {
            return OptionalInt.empty(); // the scalar kernels give the same results, more slowly
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
    }

    /**
     * Ends this process only after its child, and as the child did. Ctrl-C reaches both; on Windows nothing else gets
     * here, elsewhere a signal to this process alone is passed on.
     */
    private static void follow(Process child) {
        if (!isWindows()) {
            child.destroy();
        }
        try {
            Runtime.getRuntime().halt(child.waitFor());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static boolean isWindows() {
        return System.getProperty("os.name").startsWith("Windows");
    }
}
