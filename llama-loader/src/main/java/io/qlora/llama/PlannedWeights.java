package io.qlora.llama;

import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;
import java.io.IOException;

/** Weights of the sizes that those in a model's files will have, and no values, for a rehearsal on a device that only counts. */
final class PlannedWeights implements WeightSource {

    private final StoredModel stored;
    private final ModelMemory memory;

    PlannedWeights(StoredModel stored, ModelMemory memory) {
        this.stored = stored;
        this.memory = memory;
    }

    @Override
    public boolean tied() throws IOException {
        return stored.tied(memory.device());
    }

    @Override
    public DenseWeight table(Layout.Spec spec) throws IOException {
        DType dtype = StoredTensors.dense(stored.dtype(spec), memory.device());
        return new DenseWeight(memory.empty(dtype, spec.out(), spec.in()));
    }

    @Override
    public Weight linear(Layout.Spec spec) throws IOException {
        if (stored.form(spec) == StoredModel.Form.DENSE) {
            return table(spec);
        }
        long blocks = (spec.shape().size() + Nf4Weight.BLOCK - 1) / Nf4Weight.BLOCK;
        Tensor codes = memory.empty(DType.U8, (spec.shape().size() + 1) / 2);
        return new Nf4Weight(spec.out(), spec.in(), codes, absmax(blocks, stored.nested(spec)));
    }

    private Nf4Weight.Absmax absmax(long blocks, boolean nested) {
        if (!nested) {
            return new Nf4Weight.Plain(memory.empty(DType.F32, blocks));
        }
        long groups = (blocks + Nf4Weight.NESTED_BLOCK - 1) / Nf4Weight.NESTED_BLOCK;
        return new Nf4Weight.Nested(
                memory.empty(DType.U8, blocks), memory.empty(DType.F32, groups), memory.empty(DType.F32, 256), 0);
    }

    @Override
    public Tensor norm(Layout.Spec spec) {
        return memory.empty(DType.F32, spec.out());
    }
}
