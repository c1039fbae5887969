package io.qlora.llama;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;
import io.qlora.nf4.Nf4;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.SplittableRandom;

/**
 * Frozen random weights in the form that a checkpoint's would have: for measuring a step of a model that nobody needs to
 * download. Uniform with the standard deviation of {@link LlamaConfig#initializerRange}; linears are quantised one by one.
 */
final class SyntheticWeights implements WeightSource {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED;
    private static final int PIECE = 1 << 16; // elements a task, each from a generator of its own

    private final LlamaConfig config;
    private final LoadOptions options;
    private final long seed;
    private final CpuDevice device;
    private final ModelMemory memory;
    private long tensors;

    SyntheticWeights(LlamaConfig config, LoadOptions options, long seed, CpuDevice device, ModelMemory memory) {
        this.config = config;
        this.options = options;
        this.seed = seed;
        this.device = device;
        this.memory = memory;
    }

    @Override
    public boolean tied() {
        return config.tieWordEmbeddings();
    }

    @Override
    public DenseWeight table(Layout.Spec spec) {
        return new DenseWeight(fill(memory.empty(config.dtype(), spec.out(), spec.in())));
    }

    @Override
    public Weight linear(Layout.Spec spec) {
        if (options.quantization() == LoadOptions.Quantization.NONE) {
            return table(spec);
        }
        try (ModelMemory passing = new ModelMemory(device)) {
            Tensor values = fill(passing.empty(config.dtype(), spec.out(), spec.in()));
            return Nf4.quantize(values, options.doubleQuant(), memory, device);
        }
    }

    @Override
    public Tensor norm(Layout.Spec spec) {
        float[] ones = new float[spec.out()];
        Arrays.fill(ones, 1f);
        return memory.empty(DType.F32, spec.out()).set(ones);
    }

    private Tensor fill(Tensor tensor) {
        long first = seed + (tensors++ << 32);
        float bound = (float) (config.initializerRange() * Math.sqrt(3));
        MemorySegment segment = tensor.segment();
        boolean wide = tensor.dtype() == DType.F32;
        device.workers().run(Math.toIntExact(Math.ceilDiv(tensor.size(), PIECE)), task -> {
            SplittableRandom random = new SplittableRandom(first + task);
            long end = Math.min(tensor.size(), (task + 1L) * PIECE);
            for (long i = (long) task * PIECE; i < end; i++) {
                float value = ((random.nextInt() >> 8) * 0x1p-23f) * bound;
                if (wide) {
                    segment.setAtIndex(FLOAT, i, value);
                } else {
                    segment.setAtIndex(SHORT, i, narrow(value, tensor.dtype()));
                }
            }
        });
        return tensor;
    }

    private static short narrow(float value, DType dtype) {
        return dtype == DType.F16 ? Float.floatToFloat16(value) : (short) (Float.floatToRawIntBits(value) >>> 16);
    }
}
