package io.qlora.engine.ops;

import io.qlora.engine.autograd.Tape;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;
import java.util.List;

/**
 * Elementwise sum, the residual connection.
 *
 * <pre>
 *   z = x + y        dx = dz        dy = dz
 * </pre>
 *
 * Saves nothing; the gradient is passed on, not copied.
 */
public final class Add {

    private Add() {}

    /** What a backend provides. Shapes: all the same; the sum may be one of its operands. */
    public interface Kernel {
        void forward(Tensor x, Tensor y, Tensor z);
    }

    /**
     * The sum, written over {@code y}, which must not be used afterwards: the output of a layer's last linear, which no
     * op has saved.
     *
     * @param x any shape
     * @param y of {@code x}'s type and shape; consumed
     */
    public static Tensor inPlace(Tape tape, Tensor x, Tensor y) {
        Shapes.require(y, x.dtype(), x.shape(), "Add", "y");
        Tensor z = y.alias();
        if (tape.needsOutput()) {
            x.device().kernel(Kernel.class).forward(x, y, z);
        }
        return record(tape, x, y, z);
    }

    static Tensor record(Tape tape, Tensor x, Tensor y, Tensor z) {
        return tape.record(z, List.of(x, y), (dz, gradients) -> {
            gradients.pass(x, dz);
            gradients.pass(y, dz);
        });
    }
}
