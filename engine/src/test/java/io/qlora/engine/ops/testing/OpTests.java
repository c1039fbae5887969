package io.qlora.engine.ops.testing;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.reflect.Constructor;
import java.lang.reflect.Modifier;
import java.net.URISyntaxException;
import java.net.URL;
import java.nio.file.FileSystem;
import java.nio.file.FileSystems;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SortedSet;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.stream.Stream;

/** The ops' tests, found by their classes. */
public final class OpTests {

    private static final String ROOT = "io/qlora";
    private static final String CLASS = ".class";

    private OpTests() {}

    /** Every op test on the class path, in one jar or in several or in folders, whose class has such a name. */
    public static List<OpTest> onClassPath(Predicate<String> name) {
        return classNames().stream()
                .filter(name.and(found -> found.endsWith("Test")))
                .flatMap(found -> of(load(found, OpTests.class.getClassLoader())).stream())
                .toList();
    }

    /** The op test that a class is, if it is one that can be made. */
    static Optional<OpTest> of(Class<?> type) {
        if (!OpTest.class.isAssignableFrom(type) || Modifier.isAbstract(type.getModifiers())) {
            return Optional.empty();
        }
        try {
            Constructor<?> constructor = type.getDeclaredConstructor();
            constructor.setAccessible(true);
            return Optional.of((OpTest) constructor.newInstance());
        } catch (ReflectiveOperationException e) {
            throw new AssertionError(type + " should have a constructor without parameters", e);
        }
    }

    static Class<?> load(String name, ClassLoader loader) {
        try {
            return Class.forName(name, false, loader);
        } catch (ClassNotFoundException e) {
            throw new AssertionError(e);
        }
    }

    /** The project's classes on the class path. */
    static SortedSet<String> classNames() {
        SortedSet<String> names = new TreeSet<>();
        try {
            for (URL place : Collections.list(OpTests.class.getClassLoader().getResources(ROOT))) {
                if (place.getProtocol().equals("jar")) {
                    try (FileSystem _ = FileSystems.newFileSystem(place.toURI(), Map.of())) {
                        names.addAll(classNames(Path.of(place.toURI())));
                    }
                } else {
                    names.addAll(classNames(Path.of(place.toURI())));
                }
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (URISyntaxException e) {
            throw new IllegalStateException(e);
        }
        return names;
    }

    private static List<String> classNames(Path root) throws IOException {
        try (Stream<Path> files = Files.walk(root)) {
            return files.map(file -> ROOT + "/" + root.relativize(file))
                    .filter(name -> name.endsWith(CLASS))
                    .map(OpTests::className)
                    .toList();
        }
    }

    /** io/qlora/nf4/Nf4.class → io.qlora.nf4.Nf4 */
    static String className(String file) {
        return file.substring(0, file.length() - CLASS.length())
                .replace('/', '.')
                .replace('\\', '.');
    }
}
