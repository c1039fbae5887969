package io.qlora.nf4;

import io.qlora.engine.memory.BumpPool;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;

/**
 * 4-bit NormalFloat, the quantisation of QLoRA (Dettmers et al. 2023, arXiv:2305.14314), bit for bit as bitsandbytes
 * computes it on a CPU.
 *
 * <pre>
 *   absmax[b] = max |w| over block b: 64 consecutive elements of the flattened matrix, the last block may be short
 *   code      = how many of the 15 midpoints between neighbouring values are below w · (1/absmax[b])
 *   w'        = value[code] · absmax[b]
 *
 *   offset    = mean of absmax                                       double quantisation: absmax in 8 bits
 *   absmax2[g] = max |absmax − offset| over group g: 256 consecutive blocks
 *   q[b]      = entry of the dynamic map nearest to (absmax[b] − offset) / absmax2[g], of two the lower
 *   absmax'[b] = map[q[b]] · absmax2[g] + offset                     rounded twice
 * </pre>
 *
 * All in float32. The reciprocal is taken once a block, of at least 1e-38; a short last block divides instead. A block of
 * zeros gets the code of 0, which is 7. A NaN makes its block's absmax NaN and its codes 15, so that the whole block
 * decodes to NaN, and under double quantisation the whole weight: it is passed on, never hidden. The offset is summed in
 * double, and so may differ in its last bits from the reference's, whose order of summation is its own.
 */
public final class Nf4 {

    /** What a backend provides. Shapes, with n = out·in and B = ceil(n/64): as of {@link Nf4Weight}. */
    public interface Codec {

        /**
         * Quantises to blocks.
         *
         * @param source any shape of n elements, F32, F16 or BF16
         * @param codes U8 [ceil(n/2)], written
         * @param absmax F32 [B], written
         */
        void quantize(Tensor source, Tensor codes, Tensor absmax);

        /**
         * Quantises the blocks' scales.
         *
         * @param absmax F32 [B]
         * @param offset what is subtracted first
         * @param codes U8 [B], written
         * @param absmax2 F32 [ceil(B/256)], written
         */
        void quantizeAbsmax(Tensor absmax, float offset, Tensor codes, Tensor absmax2);

        /**
         * Decodes a whole weight.
         *
         * @param values F32 of n elements, written
         */
        void dequantize(Nf4Weight weight, Tensor values);
    }

    private static final int[] VALUE_BITS = {
        0xbf800000, 0xbf3239b1, 0xbf066b30, 0xbeca32a0, 0xbe91a24d, 0xbe3d353f, 0xbdba7871, 0x00000000,
        0x3da2faff, 0x3e24cae3, 0x3e7c04dd, 0x3ead033a, 0x3ee1a4b8, 0x3f1007ab, 0x3f3913b3, 0x3f800000
    };

    private Nf4() {}

    /** The 16 values a code can stand for, rising from −1 to 1: quantiles of a normal distribution. */
    public static float[] values() {
        float[] values = new float[VALUE_BITS.length];
        for (int i = 0; i < values.length; i++) {
            values[i] = Float.intBitsToFloat(VALUE_BITS[i]);
        }
        return values;
    }

    /** The 15 midpoints between neighbouring {@link #values}, in float32: strictly above one, the upper code is taken. */
    public static float[] midpoints() {
        float[] values = values();
        float[] midpoints = new float[values.length - 1];
        for (int i = 0; i < midpoints.length; i++) {
            midpoints[i] = (values[i] + values[i + 1]) / 2;
        }
        return midpoints;
    }

    /** The 256 values an 8-bit code of a scale can stand for, rising from −0.99296874 to 1. */
    public static float[] dynamicMap() {
        return DynamicMap.values();
    }

    /**
     * Quantises a weight, a chunk at a time: a 16-bit weight is never whole in float32. For one weight: where there are many,
     * they share what is needed meanwhile.
     *
     * @param source {@code [out, in]}, F32, F16 or BF16 on {@code device}; on the CPU any memory, a mapped file's too
     * @param doubleQuantize whether the scales are quantised, too: 4.127 bits a weight instead of 4.5
     * @param memory what the result is taken from, on {@code device}
     * @param device what does it
     * @throws IllegalArgumentException if {@code source} is not floating-point
     * @see #quantize(Tensor, boolean, ModelMemory, BumpPool, Device)
     */
    public static Nf4Weight quantize(Tensor source, boolean doubleQuantize, ModelMemory memory, Device device) {
        if (!doubleQuantize) {
            return quantizeOnce(source, memory, device);
        }
        try (BumpPool passing = new BumpPool(device, 0)) {
            return quantizeTwice(source, Float.NaN, memory, passing, device);
        }
    }

    /**
     * The same for one of many weights.
     *
     * @param passing what is needed only meanwhile is taken from, on {@code device}
     */
    public static Nf4Weight quantize(
            Tensor source, boolean doubleQuantize, ModelMemory memory, BumpPool passing, Device device) {
        return doubleQuantize
                ? quantizeTwice(source, Float.NaN, memory, passing, device)
                : quantizeOnce(source, memory, device);
    }

    private static Nf4Weight quantizeOnce(Tensor source, ModelMemory memory, Device device) {
        Tensor codes = codes(source, memory);
        Tensor absmax = memory.empty(DType.F32, blocks(source));
        device.kernel(Codec.class).quantize(source, codes, absmax);
        return new Nf4Weight(source.rows(), source.cols(), codes, new Nf4Weight.Plain(absmax));
    }

    /**
     * Double quantisation with a given offset: with the reference's, everything else is the reference's to the bit.
     *
     * @param offset NaN for the mean of the scales
     */
    static Nf4Weight quantizeTwice(Tensor source, float offset, ModelMemory memory, BumpPool passing, Device device) {
        Codec codec = device.kernel(Codec.class);
        Tensor codes = codes(source, memory);
        long blocks = blocks(source);
        long groups = (blocks + Nf4Weight.NESTED_BLOCK - 1) / Nf4Weight.NESTED_BLOCK;
        Tensor absmaxCodes = memory.empty(DType.U8, blocks);
        Tensor absmax2 = memory.empty(DType.F32, groups);
        Tensor map = memory.empty(DType.F32, DynamicMap.SIZE).set(dynamicMap());
        float used;
        BumpPool.Mark mark = passing.mark();
        try {
            Tensor absmax = passing.empty(DType.F32, Shape.of(blocks));
            codec.quantize(source, codes, absmax);
            used = Float.isNaN(offset) ? mean(absmax.toFloats()) : offset;
            codec.quantizeAbsmax(absmax, used, absmaxCodes, absmax2);
        } finally {
            passing.release(mark);
        }
        Nf4Weight.Nested absmax = new Nf4Weight.Nested(absmaxCodes, absmax2, map, used);
        return new Nf4Weight(source.rows(), source.cols(), codes, absmax);
    }

    private static float mean(float[] values) {
        double sum = 0;
        for (float value : values) {
            sum += value;
        }
        return values.length == 0 ? 0 : (float) (sum / values.length);
    }

    private static Tensor codes(Tensor source, ModelMemory memory) {
        Shapes.require(source.dtype().isFloat(), "Nf4.quantize", "source", source, "F32, F16 or BF16");
        return memory.empty(DType.U8, (source.size() + 1) / 2);
    }

    private static long blocks(Tensor source) {
        return (source.size() + Nf4Weight.BLOCK - 1) / Nf4Weight.BLOCK;
    }

    /**
     * Decodes a weight to float32, whole: for merging and for tests, never for computing with it.
     *
     * @return {@code [out, in]}, in {@code memory}
     */
    public static Tensor dequantize(Nf4Weight weight, ModelMemory memory) {
        Tensor values = memory.empty(DType.F32, weight.out(), weight.in());
        dequantize(weight, values);
        return values;
    }

    /**
     * Decodes a weight to float32 into existing memory.
     *
     * @param values F32 {@code [out, in]}, overwritten
     */
    public static void dequantize(Nf4Weight weight, Tensor values) {
        Shapes.require(values, DType.F32, Shape.of(weight.out(), weight.in()), "Nf4.dequantize", "values");
        values.device().kernel(Codec.class).dequantize(weight, values);
    }
}
