package io.qlora.engine.optim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.ops.testing.OpTest;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class GradientNormTest extends OpTest {

    @Override
    public List<OpCase> cases() {
        return List.of(normOf("three tensors", 5, 7001));
    }

    @Override
    public List<OpCase> measured() {
        return List.of(normOf("16777220 elements", 8192, 2048));
    }

    private static OpCase normOf(String what, int rows, int cols) {
        return OpCase.of("GradientNorm of " + what, GradientNorm.Kernel.class)
                .frozen("small", DType.F32, 3)
                .frozen("large", DType.F32, rows, cols)
                .frozen("one", DType.F32, 1)
                .gives((tape, in) -> {
                    Tensor norm = tape.empty(DType.F32, 1);
                    List<Tensor> tensors = List.of(in.get("small"), in.get("large"), in.get("one"));
                    tape.device().kernel(GradientNorm.Kernel.class).norm(tensors, norm);
                    return norm;
                });
    }

    private static float norm(int threads, float[]... gradients) {
        try (CpuDevice device = new CpuDevice(threads);
                ModelMemory model = new ModelMemory(device);
                StepMemory step = new StepMemory(device)) {
            List<Parameter> parameters = new ArrayList<>();
            for (float[] gradient : gradients) {
                Parameter parameter = Parameter.of("p", model.zeros(DType.F32, gradient.length), model);
                parameter.gradient().set(gradient);
                parameters.add(parameter);
            }
            float norm = GradientNorm.of(new Parameters(parameters), step);
            step.requireEmpty();
            return norm;
        }
    }

    @Test
    void isTheLengthOfAllGradientsTogether() {
        assertEquals(13, norm(1, new float[] {3, 0}, new float[] {-4}, new float[] {12}));
        assertEquals(0, norm(1));
    }

    @Test
    void doesNotOverflowOrVanishBeforeItsResultDoes() {
        assertEquals(5e30f, norm(1, new float[] {3e30f, -4e30f}), 1e24);
        assertEquals(5e-30f, norm(1, new float[] {3e-30f, 4e-30f}), 1e-36);
    }

    @Test
    void failureGivesItsMemoryBack() {
        try (CpuDevice device = new CpuDevice(1);
                StepMemory step = new StepMemory(device)) {
            ModelMemory model = new ModelMemory(device);
            Parameters parameters = new Parameters(List.of(Parameter.of("p", model.zeros(DType.F32, 3), model)));
            model.close();
            assertThrows(IllegalStateException.class, () -> GradientNorm.of(parameters, step));
            step.requireEmpty();
        }
    }

    @Test
    void isTheSameOnAnyNumberOfThreads() {
        float[] large = OpCase.normal("large", 100_003);
        float[] small = OpCase.normal("small", 77);
        assertEquals(norm(1, large, small), norm(3, large, small));
    }

    @Test
    void clipsAsTorchDoes() {
        assertEquals(1f, GradientNorm.clip(0.5f, 1f));
        assertEquals(1f / (4f + 1e-6f), GradientNorm.clip(4f, 1f));
        assertEquals(1f, GradientNorm.clip(4f, Float.POSITIVE_INFINITY));
        assertTrue(Float.isNaN(GradientNorm.clip(Float.NaN, 1f)));
    }
}
