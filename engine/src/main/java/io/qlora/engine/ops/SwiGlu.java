package io.qlora.engine.ops;

import io.qlora.engine.autograd.Backward;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.autograd.Gradients;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;
import java.util.List;

/**
 * The gated activation of Llama's feed-forward layer (Shazeer 2020, arXiv 2002.05202), element by element.
 *
 * <pre>
 *   s  = 1 / (1 + exp(−gate))
 *   y  = gate · s · up
 *   dgate = dy · up · s · (1 + gate · (1 − s))
 *   dup   = dy · gate · s
 * </pre>
 *
 * Saves gate and up, 8·T·F bytes in float32.
 */
public final class SwiGlu {

    private SwiGlu() {}

    /** What a backend provides. Shapes: all [T, F]. */
    public interface Kernel {
        void forward(Tensor gate, Tensor up, Tensor y);

        /** Either of {@code dgate}, {@code dup} is null when not wanted. */
        void backward(Tensor gate, Tensor up, Tensor dy, Grad dgate, Grad dup);
    }

    /**
     * silu(gate) · up.
     *
     * @param gate [T, F]
     * @param up [T, F], of the type of {@code gate}
     * @return [T, F]
     */
    public static Tensor apply(Tape tape, Tensor gate, Tensor up) {
        Shapes.activation(gate, -1, -1, "SwiGlu", "gate");
        Shapes.require(up, gate.dtype(), gate.shape(), "SwiGlu", "up");
        Tensor y = tape.like(gate); // [T, F]
        gate.device().kernel(Kernel.class).forward(gate, up, y);
        return tape.record(y, List.of(gate, up), new Saved(gate, up));
    }

    private record Saved(Tensor gate, Tensor up) implements Backward {
        @Override
        public void backward(Tensor dy, Gradients gradients) {
            Grad dgate = gradients.wanted(gate); // [T, F]
            Grad dup = gradients.wanted(up); // [T, F]
            gate.device().kernel(Kernel.class).backward(gate, up, dy, dgate, dup);
        }
    }
}
