package io.qlora.engine.ops.testing;

import static org.junit.jupiter.api.Assertions.assertFalse;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.tensor.Device;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.function.Predicate;

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
        for (String name : packages) {
            List<OpTest> tests = OpTests.onClassPath(in(name));
            assertFalse(tests.isEmpty(), () -> "no op test in " + name);
            tests.forEach(test -> cases.addAll(test.cases()));
        }
        return cases;
    }

    /** Every kernel contract in these packages: every nested interface called {@code Kernel} or {@code Codec}. */
    public static List<Class<?>> contracts(String... packages) {
        return OpTests.classNames().stream()
                .filter(in(packages))
                .filter(name -> name.endsWith("$Kernel") || name.endsWith("$Codec"))
                .<Class<?>>map(name -> OpTests.load(name, OnCard.class.getClassLoader()))
                .toList();
    }

    private static Predicate<String> in(String... packages) {
        Set<String> wanted = Set.of(packages);
        return name -> wanted.contains(name.substring(0, name.lastIndexOf('.')));
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
