package io.qlora.llama;

import io.qlora.engine.autograd.Tape;
import io.qlora.engine.nn.AdaptableLinear;
import io.qlora.engine.nn.LinearAdapter;
import io.qlora.engine.nn.StepKey;
import io.qlora.engine.ops.Sequences;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;
import io.qlora.nf4.WeightLinear;

/** One of a block's seven linears: its weight, and the adapter that is attached to it, if any. */
final class LlamaLinear implements AdaptableLinear {

    private final String name;
    private final Weight weight; // [out, in]
    private LinearAdapter adapter;

    LlamaLinear(String name, Weight weight) {
        this.name = name;
        this.weight = weight;
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public Weight weight() {
        return weight;
    }

    @Override
    public void attach(LinearAdapter attached) {
        adapter = attached;
    }

    @Override
    public LinearAdapter attached() {
        return adapter;
    }

    /** The layer's output [T, out], of x [T, in]. */
    Tensor apply(Tape tape, Tensor x, Sequences sequences, StepKey step) {
        return adapter == null ? WeightLinear.apply(tape, x, weight) : adapter.apply(tape, x, weight, sequences, step);
    }
}
