package io.qlora.engine.tensor;

/**
 * The weight of a linear layer, {@code [out, in]}. Sealed, so that an op must say what it does with each kind, and a
 * frozen kind cannot be put on the tape: it is no tensor.
 */
public sealed interface Weight permits DenseWeight, Nf4Weight {

    /** Width of the layer's output. */
    int out();

    /** Width of the layer's input. */
    int in();

    /** Bytes this weight takes in memory. */
    long byteSize();
}
