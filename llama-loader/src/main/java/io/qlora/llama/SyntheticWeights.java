package io.qlora.llama;

import io.qlora.engine.memory.BumpPool;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.ops.Uniform;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;
import io.qlora.nf4.Nf4;
import java.util.Arrays;

/**
 * Frozen random weights in the form that a checkpoint's would have: for measuring a step of a model that nobody needs to
 * download. Uniform with the standard deviation of {@link LlamaConfig#initializerRange}; made where they are needed, linears
 * quantised one by one.
 */
final class SyntheticWeights implements WeightSource {

    private static final long PASSING = 64L << 20; // bytes, at least

    private final LlamaConfig config;
    private final LoadOptions options;
    private final long seed;
    private final ModelMemory memory;
    private final BumpPool passing; // for weights that are quantised
    private final DType dtype;
    private int tensors;

    SyntheticWeights(LlamaConfig config, LoadOptions options, long seed, ModelMemory memory) {
        this.config = config;
        this.options = options;
        this.seed = seed;
        this.memory = memory;
        this.passing = new BumpPool(memory.device(), PASSING);
        this.dtype = StoredTensors.dense(config.dtype(), memory.device());
    }

    @Override
    public boolean tied() {
        return config.tieWordEmbeddings();
    }

    @Override
    public DenseWeight table(Layout.Spec spec) {
        return new DenseWeight(fill(memory.empty(dtype, spec.out(), spec.in())));
    }

    @Override
    public Weight linear(Layout.Spec spec) {
        if (options.quantization() == LoadOptions.Quantization.NONE) {
            return table(spec);
        }
        BumpPool.Mark mark = passing.mark();
        Tensor values = fill(passing.empty(dtype, spec.shape()));
        Weight weight = Nf4.quantize(values, options.doubleQuant(), memory, passing, memory.device());
        passing.release(mark);
        return weight;
    }

    @Override
    public Tensor norm(Layout.Spec spec) {
        float[] ones = new float[spec.out()];
        Arrays.fill(ones, 1f);
        return memory.empty(DType.F32, spec.out()).set(ones);
    }

    private Tensor fill(Tensor tensor) {
        float bound = (float) (config.initializerRange() * Math.sqrt(3));
        return Uniform.fill(tensor, bound, seed, tensors++);
    }

    @Override
    public void close() {
        passing.close();
    }
}
