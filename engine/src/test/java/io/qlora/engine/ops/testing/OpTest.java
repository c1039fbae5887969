package io.qlora.engine.ops.testing;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import io.qlora.engine.cpu.CpuDevice;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.TestFactory;

/** What is shown of every op. A subclass an op gives its cases, and adds what is special to it. */
public abstract class OpTest {

    private static final CpuDevice SCALAR = new CpuDevice(1, false);
    private static final CpuDevice SCALAR_3 = new CpuDevice(3, false);
    private static final CpuDevice VECTOR = new CpuDevice(1, true);
    private static final CpuDevice VECTOR_3 = new CpuDevice(3, true);

    /** The op's cases: small, for every entry of every gradient is differenced; of odd sizes, so that loops have tails. */
    public abstract List<OpCase> cases();

    /** The op at the sizes of a training step, on which its speed is measured; none for an op that is measured otherwise. */
    public List<OpCase> measured() {
        return List.of();
    }

    private Stream<DynamicTest> each(Consumer<OpCase> check) {
        return cases().stream().map(test -> DynamicTest.dynamicTest(test.toString(), () -> check.accept(test)));
    }

    @TestFactory
    public Stream<DynamicTest> vectorKernelsAgreeWithScalarOnes() {
        return each(test -> assertClose(test, scalar(test).run(), vector(test).run(), test.tolerance()));
    }

    @TestFactory
    public Stream<DynamicTest> everyEntryOfEveryGradientAgreesWithCentralDifferences() {
        return each(test -> {
            OpRun.Result result = scalar(test).run();
            for (OpCase.Input input : test.leaves()) {
                float[] gradient = result.gradients().get(input.name());
                float[] differences = gradient.clone();
                for (int i = 0; i < differences.length; i += test.stride(input)) {
                    differences[i] = (float) difference(test, input, i);
                }
                String what = test + ": gradient of " + input.name() + " against central differences";
                Closeness.assertClose(differences, gradient, test.gradientTolerance(), what);
            }
        });
    }

    /** The derivative of the loss by entry {@code i} from four points around it, exact to the step's fourth power. */
    private static double difference(OpCase test, OpCase.Input input, int i) {
        double h = test.step();
        double near = loss(test, input, i, h) - loss(test, input, i, -h);
        double far = loss(test, input, i, 2 * h) - loss(test, input, i, -2 * h);
        return (8 * near - far) / (12 * h);
    }

    private static double loss(OpCase test, OpCase.Input input, int i, double step) {
        return OpRun.loss(
                scalar(test).with(input.name(), i, input.floats()[i] + step).forward());
    }

    @TestFactory
    public Stream<DynamicTest> gradientsAreAddedToThoseThatAreThere() {
        return each(test -> {
            for (CpuDevice device : List.of(SCALAR, VECTOR)) {
                OpRun.Result alone = new OpRun(test, device).run();
                OpRun.Result onTop = new OpRun(test, device).onTopOfGradients().run();
                for (OpCase.Input input : test.leaves()) {
                    float[] sum = OpRun.there(input);
                    float[] gradient = alone.gradients().get(input.name());
                    for (int i = 0; i < sum.length; i++) {
                        sum[i] += gradient[i];
                    }
                    String what = test + ": gradient of " + input.name() + " on top of another, " + name(device);
                    Closeness.assertClose(sum, onTop.gradients().get(input.name()), test.tolerance(), what);
                }
            }
        });
    }

    @TestFactory
    public Stream<DynamicTest> eachGradientIsTheSameWhenItIsTheOnlyOneWanted() {
        return each(test -> {
            for (CpuDevice device : List.of(SCALAR, VECTOR)) {
                OpRun.Result all = new OpRun(test, device).run();
                for (OpCase.Input input : test.leaves()) {
                    OpRun.Result one = new OpRun(test, device)
                            .tracking(input.name()::equals)
                            .run();
                    String what = test + ": gradient of " + input.name() + " alone, " + name(device);
                    float[] expected = all.gradients().get(input.name());
                    Closeness.assertClose(expected, one.gradients().get(input.name()), test.tolerance(), what);
                }
            }
        });
    }

    @TestFactory
    public Stream<DynamicTest> sameBitsOnEveryRunAndAnyNumberOfThreads() {
        return each(test -> {
            assertSameBits(test, vector(test).run(), vector(test).run());
            assertSameBits(test, vector(test).run(), new OpRun(test, VECTOR_3).run());
            assertSameBits(test, scalar(test).run(), new OpRun(test, SCALAR_3).run());
        });
    }

    @TestFactory
    public Stream<DynamicTest> outputsAreTheSameWhenNothingIsRecorded() {
        return each(test -> {
            for (CpuDevice device : List.of(SCALAR, VECTOR)) {
                List<float[]> recorded = new OpRun(test, device).run().outputs();
                List<float[]> plain = new OpRun(test, device).forward();
                for (int i = 0; i < plain.size(); i++) {
                    Closeness.assertSameBits(recorded.get(i), plain.get(i), test + ": output " + i);
                }
            }
        });
    }

    @TestFactory
    public Stream<DynamicTest> aNanInAnyInputShowsInTheOutputs() {
        return each(test -> {
            for (OpCase.Input input : test.inputs()) {
                if (!test.nan() || input.floats() == null) {
                    continue;
                }
                for (int i : places(input.floats().length)) {
                    List<float[]> scalar =
                            scalar(test).with(input.name(), i, Double.NaN).forward();
                    List<float[]> vector =
                            vector(test).with(input.name(), i, Double.NaN).forward();
                    assertNansKept(scalar, vector, test + ": NaN at element " + i + " of " + input.name());
                }
            }
        });
    }

    @TestFactory
    public Stream<DynamicTest> aNanInTheOutputsGradientShowsInTheInputs() {
        return each(test -> {
            if (!test.nan() || test.leaves().isEmpty()) {
                return;
            }
            int length = scalar(test).forward().getFirst().length;
            for (int i : places(length)) {
                List<float[]> scalar = List.copyOf(
                        scalar(test).nanGradient(i).run().gradients().values());
                List<float[]> vector = List.copyOf(
                        vector(test).nanGradient(i).run().gradients().values());
                assertNansKept(scalar, vector, test + ": NaN at element " + i + " of the output's gradient");
            }
        });
    }

    private static int[] places(int length) {
        return IntStream.of(0, length / 2, length - 1).distinct().toArray();
    }

    private static void assertNansKept(List<float[]> scalar, List<float[]> vector, String what) {
        boolean any = false;
        for (int o = 0; o < scalar.size(); o++) {
            for (int i = 0; i < scalar.get(o).length; i++) {
                if (Float.isNaN(scalar.get(o)[i])) {
                    any = true;
                    if (!Float.isNaN(vector.get(o)[i])) {
                        fail(what + " is lost by the vector kernel at element " + i + " of " + o);
                    }
                }
            }
        }
        assertTrue(any, what + " is lost");
    }

    private static OpRun scalar(OpCase test) {
        return new OpRun(test, SCALAR);
    }

    private static OpRun vector(OpCase test) {
        return new OpRun(test, VECTOR);
    }

    private static String name(CpuDevice device) {
        return device.vectors() ? "vector" : "scalar";
    }

    private static void assertClose(OpCase test, OpRun.Result expected, OpRun.Result actual, double share) {
        for (int i = 0; i < expected.outputs().size(); i++) {
            Closeness.assertClose(expected.outputs().get(i), actual.outputs().get(i), share, test + ": output " + i);
        }
        expected.gradients()
                .forEach((name, gradient) -> Closeness.assertClose(
                        gradient, actual.gradients().get(name), share, test + ": gradient of " + name));
    }

    private static void assertSameBits(OpCase test, OpRun.Result expected, OpRun.Result actual) {
        for (int i = 0; i < expected.outputs().size(); i++) {
            Closeness.assertSameBits(expected.outputs().get(i), actual.outputs().get(i), test + ": output " + i);
        }
        expected.gradients()
                .forEach((name, gradient) -> Closeness.assertSameBits(
                        gradient, actual.gradients().get(name), test + ": gradient of " + name));
    }
}
