package io.qlora.engine.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.qlora.engine.autograd.Tape;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.ops.testing.Closeness;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.ops.testing.OpTest;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.util.List;
import org.junit.jupiter.api.Test;

class AddRmsNormTest extends OpTest {

    @Override
    public List<OpCase> cases() {
        return List.of(
                normalises("one row narrower than any vector", 1, 3),
                normalises("rows of a vector and a tail", 3, 21),
                normalises("more rows than a task has", 19, 16),
                OpCase.of("AddRmsNorm whose sum nobody uses again", AddRmsNorm.Kernel.class)
                        .activation("x", 5, 12)
                        .activation("y", 5, 12)
                        .leaf("w", 12)
                        .gives((tape, in) -> apply(tape, in).normalised()));
    }

    @Override
    public List<OpCase> measured() {
        return List.of(normalises("4096 rows of 2048", 4096, 2048));
    }

    private static OpCase normalises(String what, int rows, int cols) {
        return OpCase.of("AddRmsNorm of " + what, AddRmsNorm.Kernel.class)
                .activation("x", rows, cols)
                .activation("y", rows, cols)
                .leaf("w", cols)
                .givesAll((tape, in) -> {
                    AddRmsNorm.Result result = apply(tape, in);
                    return List.of(result.sum(), result.normalised());
                });
    }

    private static AddRmsNorm.Result apply(Tape tape, OpCase.Inputs in) {
        return AddRmsNorm.apply(tape, in.get("x"), in.get("y"), in.get("w"), 1e-5f);
    }

    @Test
    void hasTheBitsOfTheTwoOpsThatItStandsFor() {
        int rows = 300; // of which only some are added at a time
        int cols = 1003;
        try (CpuDevice device = new CpuDevice(2);
                StepMemory step = new StepMemory(device);
                Tape tape = Tape.inference(step)) {
            Tensor x = tape.empty(DType.F32, rows, cols).set(OpCase.normal("x", rows, cols));
            Tensor y = tape.empty(DType.F32, rows, cols).set(OpCase.normal("y", rows, cols));
            Tensor w = tape.empty(DType.F32, cols).set(OpCase.normal("w", cols));
            Tensor again = tape.empty(DType.F32, rows, cols).set(OpCase.normal("y", rows, cols));
            Tensor sum = Add.inPlace(tape, x, again);
            Tensor normalised = RmsNorm.apply(tape, sum, w, 1e-5f);
            AddRmsNorm.Result both = AddRmsNorm.apply(tape, x, y, w, 1e-5f);
            Closeness.assertSameBits(sum.toFloats(), both.sum().toFloats(), "h");
            Closeness.assertSameBits(normalised.toFloats(), both.normalised().toFloats(), "b");
            assertEquals(y.segment().address(), both.sum().segment().address(), "written over y");
        }
    }
}
