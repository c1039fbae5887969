package io.qlora.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.emulation.EmulatedDriver;
import io.qlora.cuda.emulation.EmulatedLibrary;
import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.ops.testing.Closeness;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.optim.AdamW;
import io.qlora.engine.optim.GradientNorm;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Device;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The optimizer's kernels on the emulated card, in three orders of threads, against the CPU's scalar ones. */
public class OptimizerTest {

    private static final int ORDERS = 3;

    private static final double ROUNDING = 1e-6;

    /** Sizes of tensors: one element, less than a block of threads, more than all blocks at once. */
    private static final int[] SIZES = {1, 200, 3 * 7, 64 * 256 + 5};

    private static CudaDevice card(int order) {
        EmulatedDriver driver = new EmulatedDriver(EmulatedLibrary.load(), 64 << 20, order);
        return CudaDevice.open(driver, 0, EmulatedDriver.code(), new CudaDevice.Options(1 << 12, true));
    }

    private static Parameters parameters(ModelMemory memory, float scale) {
        List<Parameter> parameters = new ArrayList<>();
        for (int size : SIZES) {
            Parameter parameter = Parameter.of(
                    "p" + size, memory.empty(DType.F32, size).set(OpCase.normal("value " + size, size)), memory);
            float[] gradient = OpCase.normal("gradient " + size, size);
            for (int i = 0; i < size; i++) {
                gradient[i] *= scale;
            }
            parameter.gradient().set(gradient);
            parameters.add(parameter);
        }
        return new Parameters(parameters);
    }

    /** The parameters after three steps. */
    private static List<float[]> stepped(Device device) {
        try (ModelMemory memory = new ModelMemory(device)) {
            Parameters parameters = parameters(memory, 1);
            AdamW.Options options = AdamW.Options.DEFAULT.withWeightDecay(0.1);
            AdamW adamW = new AdamW(parameters, options, memory, p -> p.name().equals("p200") ? 16 : 1);
            for (int step = 0; step < 3; step++) {
                adamW.step(0.01, 0.5f);
            }
            return parameters.list().stream().map(p -> p.value().toFloats()).toList();
        }
    }

    @Test
    void stepsOfAllParametersAtOnceAgreeWithTheScalarKernels() {
        try (CpuDevice cpu = new CpuDevice(1, false)) {
            List<float[]> expected = stepped(cpu);
            for (int order = 0; order < ORDERS; order++) {
                try (CudaDevice card = card(order)) {
                    List<float[]> found = stepped(card);
                    for (int i = 0; i < SIZES.length; i++) {
                        Closeness.assertClose(expected.get(i), found.get(i), ROUNDING, "parameter of " + SIZES[i]);
                    }
                }
            }
        }
    }

    @Test
    void theNormOfAllGradientsAgreesAndDoesNotOverflow() {
        try (CpuDevice cpu = new CpuDevice(1, false)) {
            for (float scale : new float[] {1e-30f, 1, 1e35f}) {
                float expected = norm(cpu, scale);
                for (int order = 0; order < ORDERS; order++) {
                    try (CudaDevice card = card(order)) {
                        assertEquals(expected, norm(card, scale), ROUNDING * expected);
                    }
                }
            }
        }
    }

    /** Runs what is compared here, on a device whose memory is looked after by somebody else. */
    public static void run(Device device) {
        stepped(device);
        norm(device, 1);
    }

    private static float norm(Device device, float scale) {
        try (ModelMemory memory = new ModelMemory(device);
                StepMemory step = new StepMemory(device)) {
            return GradientNorm.of(parameters(memory, scale), step);
        }
    }
}
