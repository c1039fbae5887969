package io.qlora.engine.ops;

import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.ops.testing.OpTest;
import java.util.List;

class AddTest extends OpTest {

    @Override
    public List<OpCase> cases() {
        return List.of(
                adds("two activations", 3, 37),
                OpCase.of("Add of a leaf of one element", Add.Kernel.class)
                        .leaf("x", 1)
                        .activation("y", 1)
                        .gives((tape, in) -> Add.inPlace(tape, in.get("x"), in.get("y"))));
    }

    @Override
    public List<OpCase> measured() {
        return List.of(adds("4096 rows of 2048", 4096, 2048));
    }

    private static OpCase adds(String what, int rows, int cols) {
        return OpCase.of("Add of " + what, Add.Kernel.class)
                .activation("x", rows, cols)
                .activation("y", rows, cols)
                .gives((tape, in) -> Add.inPlace(tape, in.get("x"), in.get("y")));
    }
}
