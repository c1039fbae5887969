package io.qlora.engine.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.ops.testing.OpTest;
import io.qlora.engine.tensor.DType;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class UniformTest extends OpTest {

    private final CpuDevice device = new CpuDevice(2);
    private final ModelMemory memory = new ModelMemory(device);

    @AfterEach
    void close() {
        memory.close();
        device.close();
    }

    @Override
    public List<OpCase> cases() {
        return List.of(uniform(1), uniform(1027), uniform(Uniform.PIECE + 5));
    }

    @Override
    public List<OpCase> measured() {
        return List.of(uniform(1 << 24));
    }

    private static OpCase uniform(int size) {
        return OpCase.of("Uniform of " + size, Uniform.Kernel.class)
                .gives((tape, in) -> Uniform.fill(tape.empty(DType.F32, size), 0.5f, 42, 7));
    }

    private float[] drawn(DType dtype, int size, long seed, int stream) {
        return Uniform.fill(memory.empty(dtype, size), 0.3f, seed, stream).toFloats();
    }

    @Test
    void fillsTheIntervalEvenly() {
        float[] values = drawn(DType.F32, 1 << 17, 1, 0);
        double sum = 0;
        double squares = 0;
        for (float value : values) {
            assertTrue(value >= -0.3f && value < 0.3f);
            sum += value;
            squares += value * value;
        }
        assertEquals(0, sum / values.length, 2e-3);
        assertEquals(0.3 * 0.3 / 3, squares / values.length, 2e-4);
    }

    @Test
    void anElementDependsOnSeedStreamAndPlaceAlone() {
        float[] values = drawn(DType.F32, 70_000, 1, 0);
        assertArrayEquals(Arrays.copyOf(values, 66_001), drawn(DType.F32, 66_001, 1, 0));
        assertFalse(Arrays.equals(values, drawn(DType.F32, 70_000, 2, 0)));
        assertFalse(Arrays.equals(values, drawn(DType.F32, 70_000, 1, 1)));
    }

    @Test
    void in16BitItIsTheSameRounded() {
        float[] values = drawn(DType.F32, 1000, 1, 0);
        float[] rounded = drawn(DType.BF16, 1000, 1, 0);
        for (int i = 0; i < values.length; i++) {
            assertEquals(values[i], rounded[i], Math.abs(values[i]) * 0x1p-8);
        }
    }
}
