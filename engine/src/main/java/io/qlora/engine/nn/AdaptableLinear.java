package io.qlora.engine.nn;

import io.qlora.engine.tensor.Weight;

/** A linear layer of a model, by name, to which an adapter can be attached. Models expose theirs; adapters wrap them. */
public interface AdaptableLinear {

    /** The layer's name in Hugging Face's model, e.g. {@code model.layers.3.self_attn.q_proj}. */
    String name();

    /** The frozen base, {@code [out, in]}. */
    Weight weight();

    /**
     * Has every further application of this layer computed by {@code adapter}; null goes back to the base alone. Not while
     * the model is running.
     */
    void attach(LinearAdapter adapter);

    /** What is attached, or null. */
    LinearAdapter attached();
}
