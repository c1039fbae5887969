package io.qlora.engine.ops;

import io.qlora.engine.autograd.Backward;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.autograd.Gradients;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.nn.StepKey;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;
import java.util.List;

/**
 * Sets elements to zero at random, and scales the others so that the mean stays (Srivastava et al. 2014).
 *
 * <pre>
 *   u[t,c]  = word (c mod 4) of Philox at (c / 4, position[t], document[t], site), times 2⁻³²
 *   y[t,c]  = u[t,c] ≥ p ? x[t,c] / (1 − p) : 0
 *   dx[t,c] = u[t,c] ≥ p ? dy[t,c] / (1 − p) : 0
 * </pre>
 *
 * The key is the step's. Saves nothing: the mask is drawn again, and does not depend on how a step is split into
 * micro-batches.
 */
public final class Dropout {

    private Dropout() {}

    /** What a backend provides. Shapes: x, y, dy, dx [T, C]; documents, positions I32 [T]. */
    public interface Kernel {

        /** Every element of {@code y} is set; {@code y} may be {@code x}. */
        void forward(Tensor x, Mask mask, Tensor documents, Tensor positions, Tensor y);

        void backward(Tensor dy, Mask mask, Tensor documents, Tensor positions, Grad dx);
    }

    /**
     * Which elements stay.
     *
     * @param p the probability of an element to be dropped, from 0 to below 1
     * @param step of the run
     * @param site where in the model: another number for each place that drops
     */
    public record Mask(float p, StepKey step, int site) {

        public Mask {
            Shapes.require(p >= 0 && p < 1, "Dropout", "p", p, "from 0 to below 1");
        }

        /** Philox's key. */
        public Philox.Key key() {
            return Philox.Key.of(step);
        }

        /** An element stays if its word, as an unsigned number, is at least this: p · 2³², rounded up. */
        public int threshold() {
            return (int) (long) Math.ceil(p * 0x1p32);
        }

        /** What an element that stays is multiplied by, 1 / (1 − p). */
        public float scale() {
            return (float) (1 / (1 - (double) p));
        }
    }

    /**
     * Drops elements of {@code x}; returns {@code x} itself where there is nothing to drop.
     *
     * @param x [T, C]
     * @param p the probability of an element to be dropped, from 0 to below 1
     * @param step what the mask is keyed by; null in evaluation, when nothing is dropped
     * @param site where in the model: another number for each place that drops
     * @return [T, C]
     */
    public static Tensor apply(Tape tape, Tensor x, float p, StepKey step, int site, Sequences sequences) {
        Shapes.activation(x, sequences.tokens(), -1, "Dropout", "x");
        Mask mask = new Mask(p, step, site);
        if (p == 0 || step == null) {
            return x;
        }
        Tensor y = tape.like(x); // [T, C]
        x.device().kernel(Kernel.class).forward(x, mask, sequences.documents(), sequences.positions(), y);
        return tape.record(y, List.of(x), new Saved(x, mask, sequences));
    }

    /** {@code x} only by name. */
    private record Saved(Tensor x, Mask mask, Sequences sequences) implements Backward {
        @Override
        public void backward(Tensor dy, Gradients gradients) {
            Grad dx = gradients.wanted(x); // [T, C]
            Kernel kernel = x.device().kernel(Kernel.class);
            kernel.backward(dy, mask, sequences.documents(), sequences.positions(), dx);
        }
    }
}
