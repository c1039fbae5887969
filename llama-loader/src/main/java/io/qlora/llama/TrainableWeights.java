package io.qlora.llama;

import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;

/** Weights in float32, each a parameter with its gradient. */
final class TrainableWeights implements WeightSource {

    /** Gives the values of a weight that is to be trained. */
    @FunctionalInterface
    interface Values {

        /** Writes them to {@code target}, F32 of the shape of {@code spec}. */
        void write(Layout.Spec spec, Tensor target) throws IOException;
    }

    private final boolean tied;
    private final ModelMemory memory;
    private final Values values;
    private final List<Parameter> parameters = new ArrayList<>();

    TrainableWeights(boolean tied, ModelMemory memory, Values values) {
        this.tied = tied;
        this.memory = memory;
        this.values = values;
    }

    @Override
    public boolean tied() {
        return tied;
    }

    @Override
    public DenseWeight table(Layout.Spec spec) throws IOException {
        return new DenseWeight(parameter(spec));
    }

    @Override
    public Weight linear(Layout.Spec spec) throws IOException {
        return new DenseWeight(parameter(spec));
    }

    @Override
    public Tensor norm(Layout.Spec spec) throws IOException {
        return parameter(spec);
    }

    private Tensor parameter(Layout.Spec spec) throws IOException {
        Tensor value = memory.empty(DType.F32, spec.shape().dims());
        values.write(spec, value);
        parameters.add(Parameter.of(spec.name(), value, memory));
        return value;
    }

    @Override
    public List<Parameter> parameters() {
        return parameters;
    }
}
