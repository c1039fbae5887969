package io.qlora.bench;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.ops.testing.OpReplay;
import io.qlora.engine.ops.testing.OpTest;
import io.qlora.trainer.profile.KernelWork;
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
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/** The ops by the cases of their tests: what drives oracle and gradients drives the benchmark. */
final class Ops {

    private static final String PACKAGE = "io/qlora";
    private static final Pattern ADAPTED = Pattern.compile("LoraLinear of NF4, rank \\d+, (M=\\d+, \\d+ -> \\d+)");

    private Ops() {}

    /** Each measured case, forward and backward. */
    static List<Subject> subjects() {
        List<Subject> subjects = new ArrayList<>();
        for (OpTest test : tests()) {
            for (OpCase measured : test.measured()) {
                subjects.add(subject(measured, true));
                if (measured.hasGradient()) {
                    subjects.add(subject(measured, false));
                }
            }
        }
        return subjects;
    }

    private static Subject subject(OpCase measured, boolean forward) {
        String pass = forward ? "forward" : "backward";
        Matcher adapted = ADAPTED.matcher(measured.toString());
        String base = adapted.matches() ? "nf4 " + pass + ", " + adapted.group(1) : null;
        return new Subject(measured + ", " + pass, base, true, device -> new Replayed(measured, forward, device));
    }

    /** Every op test that the class loader can see, in one jar or in several or in folders. */
    static List<OpTest> tests() {
        return classNames().stream()
                .filter(name -> name.endsWith("Test"))
                .<Class<?>>map(Ops::load)
                .filter(type -> OpTest.class.isAssignableFrom(type) && !Modifier.isAbstract(type.getModifiers()))
                .map(Ops::instance)
                .toList();
    }

    private static List<String> classNames() {
        List<String> names = new ArrayList<>();
        try {
            for (URL place : Collections.list(Ops.class.getClassLoader().getResources(PACKAGE))) {
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
            return files.map(file -> PACKAGE + "/" + root.relativize(file))
                    .filter(name -> name.endsWith(".class"))
                    .map(name -> name.substring(0, name.length() - ".class".length())
                            .replace('/', '.')
                            .replace('\\', '.'))
                    .sorted()
                    .toList();
        }
    }

    private static Class<?> load(String name) {
        try {
            return Class.forName(name, false, Ops.class.getClassLoader());
        } catch (ClassNotFoundException e) {
            throw new IllegalStateException(e);
        }
    }

    private static OpTest instance(Class<?> type) {
        try {
            Constructor<?> constructor = type.getDeclaredConstructor();
            constructor.setAccessible(true);
            return (OpTest) constructor.newInstance();
        } catch (ReflectiveOperationException e) {
            throw new IllegalStateException(type + " should have a constructor without parameters", e);
        }
    }

    /** A case's kernel calls of one direction. */
    private static final class Replayed implements Subject.Prepared {

        private final OpReplay replay;
        private final List<OpReplay.Call> calls;

        Replayed(OpCase measured, boolean forward, CpuDevice device) {
            this.replay = OpReplay.of(measured, device);
            this.calls = forward ? replay.forward() : replay.backward();
        }

        @Override
        public void run() {
            for (OpReplay.Call call : calls) {
                call.run();
            }
        }

        @Override
        public KernelWork work() {
            KernelWork work = KernelWork.NONE;
            for (OpReplay.Call call : calls) {
                work = work.plus(KernelWork.of(call.contract(), call.method().getName(), call.arguments()));
            }
            return work;
        }

        @Override
        public void close() {
            replay.close();
        }
    }
}
