package io.qlora.llama;

import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;
import java.io.IOException;
import java.util.List;

/** Where the weights of a model come from: files, a random generator, or nowhere, when only their sizes are of interest. */
interface WeightSource extends AutoCloseable {

    /** Whether the output head is the embedding. */
    boolean tied() throws IOException;

    /** The embedding or the output head, [V, C]. */
    DenseWeight table(Layout.Spec spec) throws IOException;

    /** A block's linear, [out, in]. */
    Weight linear(Layout.Spec spec) throws IOException;

    /** The weight of a normalisation, F32 [C]. */
    Tensor norm(Layout.Spec spec) throws IOException;

    /** Those of the weights given so far that can be trained, in the order they were asked for. */
    default List<Parameter> parameters() {
        return List.of();
    }

    /** Gives back what was needed on the way; the weights stay. */
    @Override
    default void close() {}
}
