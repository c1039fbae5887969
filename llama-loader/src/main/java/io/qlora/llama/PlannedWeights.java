package io.qlora.llama;

import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;

/** Weights of the right sizes and no values, for a rehearsal on a device that only counts. */
final class PlannedWeights implements WeightSource {

    private final LlamaConfig config;
    private final LoadOptions options;
    private final ModelMemory memory;

    PlannedWeights(LlamaConfig config, LoadOptions options, ModelMemory memory) {
        this.config = config;
        this.options = options;
        this.memory = memory;
    }

    @Override
    public boolean tied() {
        return config.tieWordEmbeddings();
    }

    @Override
    public DenseWeight table(Layout.Spec spec) {
        return new DenseWeight(
                memory.empty(StoredTensors.dense(config.dtype(), memory.device()), spec.out(), spec.in()));
    }

    @Override
    public Weight linear(Layout.Spec spec) {
        if (options.quantization() == LoadOptions.Quantization.NONE) {
            return table(spec);
        }
        long blocks = (spec.shape().size() + Nf4Weight.BLOCK - 1) / Nf4Weight.BLOCK;
        Tensor codes = memory.empty(DType.U8, (spec.shape().size() + 1) / 2);
        return new Nf4Weight(spec.out(), spec.in(), codes, absmax(blocks));
    }

    private Nf4Weight.Absmax absmax(long blocks) {
        boolean nested = config.bitsAndBytes() == null
                ? options.doubleQuant()
                : config.bitsAndBytes().doubleQuant();
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
