package io.qlora.engine.ops.testing;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.cpu.CpuDevice;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.module.ModuleReader;
import java.lang.module.ModuleReference;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** The kernel contracts of a module, its backends and its cases, held against each other. */
public final class KernelContracts {

    private KernelContracts() {}

    /**
     * Fails unless every contract in {@code anchor}'s module has a vector kernel, a scalar kernel, and a case in one of the
     * module's {@link OpTest}s. A contract is a nested interface that is called {@code Kernel}, or that a backend provides.
     */
    public static void assertComplete(Class<?> anchor) {
        List<String> names = classNames(anchor.getModule());
        Set<Class<?>> tested = tested(names, anchor);
        StringBuilder missing = new StringBuilder();
        try (CpuDevice vector = new CpuDevice(1, true);
                CpuDevice scalar = new CpuDevice(1, false)) {
            List<Class<?>> contracts = names.stream()
                    .filter(name -> name.contains("$"))
                    .<Class<?>>map(name -> load(name, anchor))
                    .filter(type -> type.isInterface()
                            && (type.getSimpleName().equals("Kernel") || has(vector, type) || has(scalar, type)))
                    .toList();
            assertFalse(contracts.isEmpty(), "no contract found in " + anchor.getModule());
            for (Class<?> contract : contracts) {
                require(has(vector, contract), contract, "a vector kernel", missing);
                require(has(scalar, contract), contract, "a scalar kernel", missing);
                require(tested.contains(contract), contract, "an OpCase", missing);
            }
        }
        assertTrue(missing.isEmpty(), () -> "missing:" + missing);
    }

    private static void require(boolean there, Class<?> contract, String what, StringBuilder missing) {
        if (!there) {
            missing.append("\n  ").append(what).append(" for ").append(contract.getName());
        }
    }

    private static boolean has(CpuDevice device, Class<?> contract) {
        try {
            return device.kernel(contract) != null;
        } catch (UnsupportedOperationException e) {
            return false;
        }
    }

    private static Set<Class<?>> tested(List<String> names, Class<?> anchor) {
        Set<Class<?>> tested = new HashSet<>();
        for (String name : names) {
            if (name.endsWith("Test")) {
                OpTests.of(load(name, anchor))
                        .ifPresent(test -> test.cases().forEach(each -> tested.addAll(each.contracts())));
            }
        }
        return tested;
    }

    private static Class<?> load(String name, Class<?> anchor) {
        return OpTests.load(name, anchor.getClassLoader());
    }

    /** All classes of a module, those that the tests patch in included. */
    private static List<String> classNames(Module module) {
        ModuleReference reference = module.getLayer()
                .configuration()
                .findModule(module.getName())
                .orElseThrow()
                .reference();
        try (ModuleReader reader = reference.open()) {
            return reader.list()
                    .filter(name -> name.endsWith(".class") && !name.equals("module-info.class"))
                    .map(OpTests::className)
                    .sorted()
                    .toList();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
