package io.qlora.engine.ops;

import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.ops.testing.OpTest;
import java.util.List;

class RmsNormTest extends OpTest {

    @Override
    public List<OpCase> cases() {
        return List.of(
                normalises("one row narrower than any vector", 1, 3),
                normalises("rows of a vector and a tail", 3, 21),
                normalises("more rows than a task has", 19, 16));
    }

    @Override
    public List<OpCase> measured() {
        return List.of(normalises("4096 rows of 2048", 4096, 2048));
    }

    private static OpCase normalises(String what, int rows, int cols) {
        return OpCase.of("RmsNorm of " + what, RmsNorm.Kernel.class)
                .activation("x", rows, cols)
                .leaf("w", cols)
                .gives((tape, in) -> RmsNorm.apply(tape, in.get("x"), in.get("w"), 1e-5f));
    }
}
