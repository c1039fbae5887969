package io.qlora.engine.autograd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.ops.Add;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class TapeTest {

    private final CpuDevice device = new CpuDevice(1);
    private final ModelMemory model = new ModelMemory(device);
    private final StepMemory step = new StepMemory(device);

    @AfterEach
    void close() {
        step.close();
        model.close();
        device.close();
    }

    @Test
    void secondWalkBackIsRefusedAsOne() {
        Parameter p = Parameter.of("p", model.zeros(DType.F32, 1), model);
        try (Tape tape = Tape.recording(step, new Parameters(List.of(p)))) {
            Tensor loss = Add.inPlace(tape, p.value(), model.zeros(DType.F32, 1));
            tape.backward(loss);
            IllegalStateException e = assertThrows(IllegalStateException.class, () -> tape.backward(loss));
            assertEquals(
                    "the tape has been walked back already, and F32 [1] has no gradient on it any more: record the ops"
                            + " again, on a new tape",
                    e.getMessage());
            assertEquals(1, p.gradient().item());
        }
        step.requireEmpty();
    }

    @Test
    void lossOfNothingTrainableIsRefused() {
        try (Tape tape = Tape.recording(step, Parameters.none())) {
            Tensor loss = Add.inPlace(tape, model.zeros(DType.F32, 1), model.zeros(DType.F32, 1));
            assertEquals(
                    "nothing that F32 [1] depends on is trainable: it has no gradient",
                    assertThrows(IllegalArgumentException.class, () -> tape.backward(loss))
                            .getMessage());
        }
    }
}
