package io.qlora.engine.ops.testing;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.tensor.Device;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.reflect.Constructor;
import java.lang.reflect.Modifier;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.stream.Stream;

/**
 * The op cases that the other modules' tests describe, on another device. In the harness's package, since a case keeps what
 * is in it to itself.
 */
public final class OnCard {

    private static final CpuDevice SCALAR = new CpuDevice(1, false);

    private OnCard() {}

    /** Every case of every op test in these packages, wherever on the class path they are. */
    public static List<OpCase> cases(String... packages) {
        List<OpCase> cases = new ArrayList<>();
        for (String name : classes(Set.of(packages), "Test")) {
            try {
                Class<?> type = load(name);
                if (OpTest.class.isAssignableFrom(type) && !Modifier.isAbstract(type.getModifiers())) {
                    Constructor<?> constructor = type.getDeclaredConstructor();
                    constructor.setAccessible(true);
                    cases.addAll(((OpTest) constructor.newInstance()).cases());
                }
            } catch (ReflectiveOperationException e) {
                throw new AssertionError(e);
            }
        }
        return cases;
    }

    /** Every kernel contract in these packages: every nested interface called {@code Kernel} or {@code Codec}. */
    public static List<Class<?>> contracts(String... packages) {
        SortedSet<String> names = classes(Set.of(packages), "$Kernel");
        names.addAll(classes(Set.of(packages), "$Codec"));
        List<Class<?>> contracts = new ArrayList<>();
        try {
            for (String name : names) {
                contracts.add(load(name));
            }
        } catch (ClassNotFoundException e) {
            throw new AssertionError(e);
        }
        return contracts;
    }

    private static Class<?> load(String name) throws ClassNotFoundException {
        return Class.forName(name, false, OnCard.class.getClassLoader());
    }

    /** The names of the classes in these packages, wherever on the class path, that end so. */
    private static SortedSet<String> classes(Set<String> packages, String end) {
        SortedSet<String> found = new TreeSet<>();
        for (String entry : System.getProperty("java.class.path").split(File.pathSeparator)) {
            Path path = Path.of(entry);
            try {
                if (Files.isDirectory(path)) {
                    found.addAll(classes(path, packages, end));
                } else if (entry.endsWith(".jar") && Files.exists(path)) {
                    try (FileSystem jar = FileSystems.newFileSystem(path, Map.of())) {
                        Path root = jar.getPath("/");
                        if (Files.isDirectory(root.resolve("io/qlora"))) {
                            found.addAll(classes(root, packages, end));
                        }
                    }
                }
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
        return found;
    }

    private static List<String> classes(Path root, Set<String> packages, String end) throws IOException {
        try (Stream<Path> files = Files.walk(root)) {
            return files.map(file -> root.relativize(file).toString())
                    .filter(name -> name.endsWith(end + ".class"))
                    .map(name ->
                            name.substring(0, name.length() - ".class".length()).replace('/', '.'))
                    .filter(name -> packages.contains(name.substring(0, Math.max(0, name.lastIndexOf('.')))))
                    .toList();
        }
    }

    /** Runs a case forward and backward, whatever comes out. */
    public static void run(OpCase test, Device device) {
        new OpRun(test, device).run();
    }

    /**
     * Fails unless outputs and gradients on {@code device}, alone and on top of gradients that are there, are within {@code
     * share} of the tensor's largest magnitude of what the CPU's scalar kernels give; and unless two runs give the same bits.
     */
    public static void assertAgrees(OpCase test, Device device, double share) {
        OpRun.Result first = new OpRun(test, device).run();
        compare(test + " on the card", new OpRun(test, SCALAR).run(), first, share);
        compare(
                test + " on the card, on top of gradients",
                new OpRun(test, SCALAR).onTopOfGradients().run(),
                new OpRun(test, device).onTopOfGradients().run(),
                share);
        OpRun.Result again = new OpRun(test, device).run();
        for (int i = 0; i < first.outputs().size(); i++) {
            Closeness.assertSameBits(first.outputs().get(i), again.outputs().get(i), test + ": output " + i);
        }
        first.gradients()
                .forEach((name, gradient) -> Closeness.assertSameBits(
                        gradient, again.gradients().get(name), test + ": gradient of " + name));
    }

    private static void compare(String what, OpRun.Result expected, OpRun.Result actual, double share) {
        for (int i = 0; i < expected.outputs().size(); i++) {
            Closeness.assertClose(expected.outputs().get(i), actual.outputs().get(i), share, what + ": output " + i);
        }
        expected.gradients()
                .forEach((name, gradient) -> Closeness.assertClose(
                        gradient, actual.gradients().get(name), share, what + ": gradient of " + name));
    }
}
