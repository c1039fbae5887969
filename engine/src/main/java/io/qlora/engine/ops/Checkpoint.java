package io.qlora.engine.ops;

import io.qlora.engine.autograd.Backward;
import io.qlora.engine.autograd.Gradients;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;
import java.util.function.BiFunction;

/**
 * A block of a model that is computed twice to save memory (Chen et al. 2016, arXiv 1604.06174): forward, of all that it
 * computes only its output is kept; on the way back it is computed again, this time recorded, and walked back at once.
 * Of what the block marks as its {@linkplain Tape#last last} ops, that time only what their way back needs is computed.
 *
 * <pre>
 *   y = block(x)
 *   dx, and the gradients of the leaves in the block, are the block's own
 * </pre>
 *
 * Saves x, which was there anyway. The block computes the same bits both times, so gradients are those without it, bit for
 * bit.
 */
public final class Checkpoint {

    private Checkpoint() {}

    /**
     * Applies a block.
     *
     * @param x [T, C]; not to be overwritten, by the block or later
     * @param block gives an output of x's type and shape; run on tapes of its own, it must use nothing tracked but x and
     *     leaves, and draw its randomness from keys
     * @return [T, C]
     */
    public static Tensor apply(Tape tape, Tensor x, BiFunction<Tape, Tensor, Tensor> block) {
        Tensor y = tape.like(x); // [T, C]
        boolean depends = forward(tape, x, block, y, () -> {});
        return tape.record(y, depends, new Saved(tape, x, block));
    }

    /**
     * Leaves the block's output in {@code y}, whose memory is not touched before {@code ready} has run.
     *
     * @return whether it depends on a leaf
     */
    static boolean forward(Tape tape, Tensor x, BiFunction<Tape, Tensor, Tensor> block, Tensor y, Runnable ready) {
        try (Tape inner = Tape.tracking(tape.memory(), tape.leaves())) {
            Tensor output = run(tape, inner, x, block);
            Shapes.require(output, x.dtype(), x.shape(), "Checkpoint", "the block's output");
            ready.run();
            x.device().copy(output, y);
            return inner.tracks(output);
        }
    }

    /** Computes the block again and walks it back. */
    static void backward(Tape tape, Tensor x, BiFunction<Tape, Tensor, Tensor> block, Tensor dy, Gradients gradients) {
        try (Tape inner = Tape.recordingAgain(tape.memory(), tape.leaves())) {
            Tensor y = run(tape, inner, x, block);
            inner.backward(y, dy, gradients);
        }
    }

    private record Saved(Tape tape, Tensor x, BiFunction<Tape, Tensor, Tensor> block) implements Backward {
        @Override
        public void backward(Tensor dy, Gradients gradients) {
            Checkpoint.backward(tape, x, block, dy, gradients);
        }
    }

    private static Tensor run(Tape tape, Tape inner, Tensor x, BiFunction<Tape, Tensor, Tensor> block) {
        if (tape.tracks(x)) {
            inner.track(x);
        }
        return block.apply(inner, x);
    }
}
