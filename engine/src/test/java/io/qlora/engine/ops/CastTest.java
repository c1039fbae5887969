package io.qlora.engine.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;

import io.qlora.engine.autograd.Tape;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.ops.testing.OpTest;
import io.qlora.engine.scalar.Floats;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.util.List;
import org.junit.jupiter.api.Test;

class CastTest extends OpTest {

    /** Of a gradient that is rounded to eight bits: half a unit in the last place, relative to the largest. */
    private static final double HALF_UNIT = 0x1p-8;

    @Override
    public List<OpCase> cases() {
        return List.of(toBfloat16(1, 1), toBfloat16(5, 13));
    }

    @Override
    public List<OpCase> measured() {
        return List.of(OpCase.of("Cast of 4096 rows of 2048 to bfloat16", Cast.Kernel.class)
                .activation("x", 4096, 2048)
                .gives((tape, in) -> Cast.apply(tape, in.get("x"), DType.BF16)));
    }

    /** Of quarters: these, and what is a thirty-second or two beside them, are exact. */
    private static OpCase toBfloat16(int rows, int cols) {
        float[] quarters = OpCase.normal("quarters", rows, cols);
        for (int i = 0; i < quarters.length; i++) {
            quarters[i] = Math.round(Math.clamp(quarters[i], -1.5f, 1.5f) * 4) / 4f;
        }
        return OpCase.of("Cast of " + rows + " rows of " + cols + " to bfloat16", Cast.Kernel.class)
                .activation("x", quarters, rows, cols)
                .gradientWithin(HALF_UNIT, 1.0 / 32)
                .gives((tape, in) -> Cast.apply(tape, in.get("x"), DType.BF16));
    }

    @Test
    void roundsToNearestTiesToEvenAndKeepsWhatIsNotFinite() {
        float[] given = {1, 0x1.01p0f, 0x1.03p0f, 0x1.0102p0f, Float.MAX_VALUE, Float.NEGATIVE_INFINITY, Float.NaN};
        float[] expected = {1, 1, 0x1.04p0f, 0x1.02p0f, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, Float.NaN};
        for (int i = 0; i < given.length; i++) {
            float found = Float.intBitsToFloat(Floats.bfloat16(given[i]) << 16);
            assertEquals(expected[i], found, Float.toHexString(given[i]));
        }
    }

    @Test
    void whatHasTheTypeAlreadyIsReturnedItself() {
        try (CpuDevice device = new CpuDevice(1);
                StepMemory memory = new StepMemory(device);
                Tape tape = Tape.inference(memory)) {
            Tensor x = tape.empty(DType.F32, 2, 3);
            assertSame(x, Cast.apply(tape, x, DType.F32));
        }
    }
}
