package io.qlora.engine.optim;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.ops.testing.OpTest;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class AdamWTest extends OpTest {

    private static final AdamW.Options DECAYING = AdamW.Options.DEFAULT.withWeightDecay(0.1);

    private final CpuDevice device = new CpuDevice(2);
    private final ModelMemory memory = new ModelMemory(device);

    @AfterEach
    void close() {
        memory.close();
        device.close();
    }

    @Override
    public List<OpCase> cases() {
        return List.of(
                steps(
                        "its usual betas",
                        16_411,
                        new AdamW.Options(0.9, 0.999, 1e-8, 0.01)), // two pieces, the second short
                steps(
                        "a short memory, where the mean starts from the gradient",
                        16_411,
                        new AdamW.Options(0.3, 0.9, 1e-8, 0)));
    }

    @Override
    public List<OpCase> measured() {
        return List.of(steps("8388608 elements", 8_388_608, AdamW.Options.DEFAULT));
    }

    private static OpCase steps(String what, int n, AdamW.Options options) {
        float[] squares = OpCase.normal("v", n);
        for (int i = 0; i < n; i++) {
            squares[i] *= squares[i];
        }
        return OpCase.of("AdamW with " + what, AdamW.Kernel.class)
                .frozen("p", DType.F32, n)
                .frozen("g", DType.F32, n)
                .frozen("m", DType.F32, n)
                .frozen("v", squares, DType.F32, n)
                .givesAll((tape, in) -> {
                    Parameter parameter = new Parameter("p", in.get("p"), in.get("g"));
                    AdamW.Slot slot = new AdamW.Slot(parameter, in.get("m"), in.get("v"), 2);
                    AdamW.Step step = new AdamW.Step(options, 1e-2, 3, 0.5f);
                    tape.device().kernel(AdamW.Kernel.class).step(List.of(slot), step);
                    return List.of(in.get("p"), in.get("m"), in.get("v"));
                });
    }

    private Parameter parameter(String name, int n) {
        return Parameter.of(name, memory.empty(DType.F32, n).set(OpCase.normal(name, n)), memory);
    }

    private static float[] gradient(Parameter parameter, int step) {
        return OpCase.normal(
                parameter.name() + " at step " + step, parameter.value().size());
    }

    @Test
    void fiftyStepsAgreeWithTheFormulaInDouble() {
        Parameter parameter = parameter("p", 41);
        AdamW optimizer = new AdamW(new Parameters(List.of(parameter)), DECAYING, memory);
        double[] p = new double[41];
        double[] m = new double[41];
        double[] v = new double[41];
        for (int i = 0; i < p.length; i++) {
            p[i] = parameter.value().get(i);
        }
        LearningRate rate = new LearningRate(LearningRate.Schedule.LINEAR, 2e-2, 5, 50);
        for (int t = 1; t <= 50; t++) {
            float[] gradient = gradient(parameter, t);
            float clip = GradientNorm.clip(t, 8f);
            parameter.gradient().set(gradient);
            optimizer.step(rate.at(t - 1), clip);
            for (int i = 0; i < p.length; i++) {
                double g = (double) gradient[i] * clip;
                p[i] -= rate.at(t - 1) * 0.1 * p[i];
                m[i] = 0.9 * m[i] + 0.1 * g;
                v[i] = 0.999 * v[i] + 0.001 * g * g;
                double mean = m[i] / (1 - Math.pow(0.9, t));
                double square = v[i] / (1 - Math.pow(0.999, t));
                p[i] -= rate.at(t - 1) * mean / (Math.sqrt(square) + 1e-8);
                assertEquals(p[i], parameter.value().get(i), 2e-6, "element " + i + " after step " + t);
            }
        }
        assertEquals(50, optimizer.steps());
    }

    @Test
    void theFirstStepHasTheSizeOfTheLearningRateWhateverTheGradients() {
        Parameter parameter = Parameter.of("p", memory.zeros(DType.F32, 3), memory);
        AdamW optimizer = new AdamW(new Parameters(List.of(parameter)), AdamW.Options.DEFAULT, memory);
        parameter.gradient().set(100f, -0.01f, 0f);
        optimizer.step(0.5, 1f);
        assertArrayEquals(new float[] {-0.5f, 0.5f, 0f}, parameter.value().toFloats(), 1e-5f);
    }

    @Test
    void aRateFactorMultipliesTheLearningRateOfItsParameterAlone() {
        Parameter a = parameter("same", 20);
        Parameter b =
                new Parameter("same", memory.empty(DType.F32, 20).set(a.value().toFloats()), a.gradient());
        Parameter alone =
                new Parameter("same", memory.empty(DType.F32, 20).set(a.value().toFloats()), a.gradient());
        a.gradient().set(gradient(a, 1));
        new AdamW(new Parameters(List.of(a, b)), DECAYING, memory, p -> p == b ? 16 : 1).step(1e-3, 1f);
        new AdamW(new Parameters(List.of(alone)), DECAYING, memory).step(16e-3, 1f);
        assertArrayEquals(alone.value().toFloats(), b.value().toFloats());
        Tensor before = memory.empty(DType.F32, 20).set(OpCase.normal("same", 20));
        for (int i = 0; i < 20; i++) {
            double moved = before.get(i) * (1 - 1e-4) - a.value().get(i);
            assertEquals(1e-3, Math.abs(moved), 1e-6);
        }
    }

    @Test
    void aResumedOptimizerGoesOnBitForBit() {
        Parameter through = parameter("p", 100);
        Parameter resumed = parameter("p", 100);
        AdamW one = new AdamW(new Parameters(List.of(through)), DECAYING, memory);
        AdamW first = new AdamW(new Parameters(List.of(resumed)), DECAYING, memory);
        for (int t = 1; t <= 3; t++) {
            step(one, through, t);
            step(first, resumed, t);
        }
        AdamW second = new AdamW(new Parameters(List.of(resumed)), DECAYING, memory);
        second.slots().getFirst().mean().set(first.slots().getFirst().mean().toFloats());
        second.slots().getFirst().square().set(first.slots().getFirst().square().toFloats());
        second.resume(first.steps());
        for (int t = 4; t <= 6; t++) {
            step(one, through, t);
            step(second, resumed, t);
        }
        assertArrayEquals(through.value().toFloats(), resumed.value().toFloats());
    }

    private static void step(AdamW optimizer, Parameter parameter, int t) {
        parameter.gradient().set(gradient(parameter, t));
        optimizer.step(1e-2, 1f);
    }

    @Test
    void refusesImpossibleConstants() {
        assertThrows(IllegalArgumentException.class, () -> new AdamW.Options(1, 0.999, 1e-8, 0));
        assertThrows(IllegalArgumentException.class, () -> new AdamW.Options(0.9, -0.1, 1e-8, 0));
        assertThrows(IllegalArgumentException.class, () -> new AdamW.Options(0.9, 0.999, Double.NaN, 0));
        IllegalArgumentException e =
                assertThrows(IllegalArgumentException.class, () -> new AdamW.Options(0.9, 0.999, 1e-8, -1));
        assertEquals("AdamW: weight decay should be 0 or more, found -1.0", e.getMessage());
    }
}
