package io.qlora.lora;

import io.qlora.engine.autograd.Tape;
import io.qlora.engine.nn.AdaptableLinear;
import io.qlora.engine.nn.LinearAdapter;
import io.qlora.engine.nn.StepKey;
import io.qlora.engine.ops.Dropout;
import io.qlora.engine.ops.Sequences;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;

/**
 * The adapter of one linear.
 *
 * @param linear what it adapts
 * @param matrices A [R, in] and B [out, R]
 * @param dropout the probability of an element of its input to be dropped in training
 * @param site where in the model, for the dropout
 */
record LoraLayer(AdaptableLinear linear, LoraLinear.LowRank matrices, float dropout, int site)
        implements LinearAdapter {

    /** A's name in files. */
    String nameOfA() {
        return PeftFiles.PREFIX + linear.name() + ".lora_A.weight";
    }

    /** B's name in files. */
    String nameOfB() {
        return PeftFiles.PREFIX + linear.name() + ".lora_B.weight";
    }

    @Override
    public Tensor apply(Tape tape, Tensor x, Weight base, Sequences sequences, StepKey step) {
        Dropout.Mask mask = dropout == 0 || step == null ? null : new Dropout.Mask(dropout, step, site);
        return LoraLinear.apply(tape, x, base, matrices, mask, sequences);
    }
}
