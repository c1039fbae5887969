package io.qlora.engine.ops;

import io.qlora.engine.ops.testing.OpCase;
import io.qlora.engine.ops.testing.OpTest;
import java.util.List;

class AddTest extends OpTest {

    @Override
    public List<OpCase> cases() {
        return List.of(
                OpCase.of("Add of two activations", Add.Kernel.class)
                        .activation("x", 3, 37)
                        .activation("y", 3, 37)
                        .gives((tape, in) -> Add.inPlace(tape, in.get("x"), in.get("y"))),
                OpCase.of("Add of a leaf of one element", Add.Kernel.class)
                        .leaf("x", 1)
                        .activation("y", 1)
                        .gives((tape, in) -> Add.inPlace(tape, in.get("x"), in.get("y"))));
    }
}
