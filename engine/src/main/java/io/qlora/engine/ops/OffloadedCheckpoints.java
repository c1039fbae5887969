package io.qlora.engine.ops;

import io.qlora.engine.autograd.Backward;
import io.qlora.engine.autograd.Gradients;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.Tensor;
import java.util.function.BiFunction;

/**
 * {@link Checkpoint}s in a row, each block's output the next one's input, whose inputs wait for the way back in the machine's
 * memory instead of the device's.
 *
 * <pre>
 *   forward    y[i] = block[i](x[i])      x[i] is copied to the machine beside block[i+1], whose end overwrites it
 *   back       x[i−1] is copied back beside block[i]'s second run
 * </pre>
 *
 * However many blocks there are, the inputs of two are on the device: outputs are written to the two memories in turn.
 * Saves each x in the machine's memory. Bits come back as they went, so gradients are those of {@link Checkpoint}.
 */
public final class OffloadedCheckpoints {

    private final Tape tape;
    private Tensor lent; // the last block's input: its memory is the next one's output
    private Saved last; // the last block, if it is recorded

    /** No blocks as yet. */
    public OffloadedCheckpoints(Tape tape) {
        this.tape = tape;
    }

    /**
     * Applies the next block.
     *
     * @param x [T, C], used by nothing else: the first block's is overwritten by the second, every other is the output of the
     *     block before
     * @param block as of {@link Checkpoint#apply}
     * @return [T, C]
     * @throws UnsupportedOperationException if the device computes in the machine's memory
     */
    public Tensor apply(Tensor x, BiFunction<Tape, Tensor, Tensor> block) {
        Device device = x.device();
        Tensor y = lent == null ? tape.like(x) : lent.alias(); // [T, C]
        boolean depends = Checkpoint.forward(tape, x, block, y, device::awaitCopies);
        if (last != null) {
            last.gone = true;
        }
        lent = x;
        last = depends ? new Saved(tape, x, tape.onHost(x), block, last) : null;
        if (depends) {
            device.copyBeside(x, last.host);
        }
        return tape.record(y, depends, last);
    }

    private static final class Saved implements Backward {

        private final Tape tape;
        private final Tensor x; // [T, C]
        private final Tensor host; // x in the machine's memory
        private final BiFunction<Tape, Tensor, Tensor> block;
        private final Saved before; // or null
        private boolean gone; // x from the device

        Saved(Tape tape, Tensor x, Tensor host, BiFunction<Tape, Tensor, Tensor> block, Saved before) {
            this.tape = tape;
            this.x = x;
            this.host = host;
            this.block = block;
            this.before = before;
        }

        private void fetch() {
            if (gone) {
                x.device().copyBeside(host, x);
                gone = false;
            }
        }

        @Override
        public void backward(Tensor dy, Gradients gradients) {
            fetch(); // begun long ago by the block after this, if there is one
            x.device().awaitCopies();
            if (before != null) {
                before.fetch();
            }
            Checkpoint.backward(tape, x, block, dy, gradients);
        }
    }
}
