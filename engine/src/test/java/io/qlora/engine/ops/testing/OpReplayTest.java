package io.qlora.engine.ops.testing;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.ops.RmsNorm;
import io.qlora.engine.tensor.Tensor;
import java.util.List;
import org.junit.jupiter.api.Test;

class OpReplayTest {

    private static OpCase twice(Class<?>... contracts) {
        return OpCase.of("RmsNorm, twice", contracts)
                .activation("x", 3, 21)
                .leaf("w", 21)
                .gives((tape, in) -> {
                    Tensor y = RmsNorm.apply(tape, in.get("x"), in.get("w"), 1e-5f);
                    return RmsNorm.apply(tape, y, in.get("w"), 1e-5f);
                });
    }

    private static List<String> methods(List<OpReplay.Call> calls) {
        return calls.stream().map(call -> call.method().getName()).toList();
    }

    @Test
    void theCallsOfBothDirectionsAreKept() {
        try (CpuDevice device = new CpuDevice(1);
                OpReplay replay = OpReplay.of(twice(RmsNorm.Kernel.class), device)) {
            assertEquals(List.of("forward", "forward"), methods(replay.forward()));
            assertEquals(List.of("backward", "backward"), methods(replay.backward()));
        }
    }

    @Test
    void callsOfOtherContractsAreNot() {
        try (CpuDevice device = new CpuDevice(1);
                OpReplay replay = OpReplay.of(twice(), device)) {
            assertEquals(List.of(), replay.forward());
            assertEquals(List.of(), replay.backward());
        }
    }

    @Test
    void aCallMadeAgainGivesTheSame() {
        try (CpuDevice device = new CpuDevice(1);
                OpReplay replay = OpReplay.of(twice(RmsNorm.Kernel.class), device)) {
            OpReplay.Call call = replay.forward().getFirst();
            Tensor y = (Tensor) call.arguments()[3];
            call.run();
            float[] first = y.toFloats();
            y.set(new float[first.length]);
            call.run();
            Closeness.assertSameBits(first, y.toFloats(), "y");
        }
    }
}
