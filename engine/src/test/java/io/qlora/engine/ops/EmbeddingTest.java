package io.qlora.engine.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.qlora.engine.autograd.Tape;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.ops.testing.OpTest;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Tensor;
import java.util.List;
import java.util.SplittableRandom;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class EmbeddingTest extends OpTest {

    private static final int[] IDS = {4, 0, 2, 4, 4, 1, 0};

    @Override
    public List<OpCase> cases() {
        return List.of(
                OpCase.of("Embedding of ids that come again", Embedding.Kernel.class)
                        .ints("ids", IDS, IDS.length)
                        .leaf("table", 5, 19)
                        .gives((tape, in) -> Embedding.apply(tape, in.get("ids"), new DenseWeight(in.get("table")))),
                frozen(DType.F16, IDS, 5, 37),
                frozen(DType.BF16, IDS, 5, 37));
    }

    @Override
    public List<OpCase> measured() {
        int[] ids = new SplittableRandom(1).ints(4096, 0, 32_000).toArray();
        return List.of(frozen(DType.BF16, ids, 32_000, 2048));
    }

    private static OpCase frozen(DType dtype, int[] ids, int rows, int cols) {
        return OpCase.of("Embedding of " + ids.length + " of " + rows + " rows in " + dtype, Embedding.Kernel.class)
                .ints("ids", ids, ids.length)
                .frozen("table", dtype, rows, cols)
                .gives((tape, in) -> Embedding.apply(tape, in.get("ids"), new DenseWeight(in.get("table"))));
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void anIdThatIsNotInTheTableIsNamed(boolean vectors) {
        try (CpuDevice device = new CpuDevice(2, vectors);
                ModelMemory model = new ModelMemory(device);
                StepMemory step = new StepMemory(device);
                Tape tape = Tape.inference(step)) {
            DenseWeight table = new DenseWeight(model.zeros(DType.F32, 5, 4));
            for (int wrong : new int[] {-1, 5}) {
                Tensor ids = model.empty(DType.I32, 3).set(0, 1, wrong);
                IndexOutOfBoundsException e =
                        assertThrows(IndexOutOfBoundsException.class, () -> Embedding.apply(tape, ids, table));
                assertEquals("element 2 of I32 [3] should be an index from 0 to 4, found " + wrong, e.getMessage());
            }
        }
    }
}
