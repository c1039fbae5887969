package io.qlora.engine.ops;

import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.ops.testing.OpTest;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import java.util.List;

class LinearTest extends OpTest {

    @Override
    public List<OpCase> cases() {
        return List.of(
                trainable("one row", 1, 7, 5),
                trainable("as few rows as are taken row by row", 3, 35, 9),
                trainable("more rows than are taken one by one", 11, 5, 33),
                trainable("one input and one output", 9, 1, 1),
                frozen(DType.F32, 1, 37, 6),
                frozen(DType.F32, 9, 37, 6),
                frozen(DType.F16, 1, 37, 6),
                frozen(DType.F16, 9, 37, 6),
                frozen(DType.BF16, 1, 37, 6),
                frozen(DType.BF16, 9, 37, 6));
    }

    private static OpCase trainable(String what, int rows, int in, int out) {
        return OpCase.of("Linear of " + what, Linear.Kernel.class)
                .activation("x", rows, in)
                .leaf("w", out, in)
                .gives((tape, inputs) -> Linear.apply(tape, inputs.get("x"), new DenseWeight(inputs.get("w"))));
    }

    private static OpCase frozen(DType dtype, int rows, int in, int out) {
        return OpCase.of("Linear of " + rows + " rows and a frozen weight in " + dtype, Linear.Kernel.class)
                .activation("x", rows, in)
                .frozen("w", dtype, out, in)
                .gives((tape, inputs) -> Linear.apply(tape, inputs.get("x"), new DenseWeight(inputs.get("w"))));
    }
}
