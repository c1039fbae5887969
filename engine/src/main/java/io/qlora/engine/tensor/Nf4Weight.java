package io.qlora.engine.tensor;

import java.util.Objects;

/**
 * A frozen weight in 4-bit NormalFloat: data only; the codec and the ops are in the {@code nf4} module. Blocks are 64
 * consecutive elements of the whole {@code [out, in]} matrix flattened row-major, so with {@code n = out·in} there are
 * {@code B = ceil(n/64)} of them, and where {@code in} is no multiple of 64 they run across rows.
 *
 * @param out width of the layer's output
 * @param in width of the layer's input
 * @param codes U8 {@code [ceil(n/2)]}, two codes a byte, the first in the high nibble
 * @param absmax the blocks' scales, plain or quantised themselves
 */
public record Nf4Weight(int out, int in, Tensor codes, Absmax absmax) implements Weight {

    /** Elements in a block. */
    public static final int BLOCK = 64;

    /** Scales in a block of scales, under double quantisation. */
    public static final int NESTED_BLOCK = 256;

    /** The largest magnitude of each block. */
    public sealed interface Absmax permits Plain, Nested {

        /** Bytes the scales take in memory. */
        long byteSize();
    }

    /**
     * Scales as they are.
     *
     * @param values F32 {@code [B]}
     */
    public record Plain(Tensor values) implements Absmax {
        @Override
        public long byteSize() {
            return values.byteSize();
        }
    }

    /**
     * Scales quantised to 8 bits: {@code absmax[b] = map[codes[b]] · absmax2[b / 256] + offset}, product and sum rounded
     * separately.
     *
     * @param codes U8 {@code [B]}
     * @param absmax2 F32 {@code [ceil(B/256)]}
     * @param map F32 {@code [256]}, the signed dynamic map
     * @param offset the mean that was subtracted
     */
    public record Nested(Tensor codes, Tensor absmax2, Tensor map, float offset) implements Absmax {
        @Override
        public long byteSize() {
            return codes.byteSize() + absmax2.byteSize() + map.byteSize();
        }
    }

    public Nf4Weight {
        Objects.requireNonNull(absmax);
        long n = (long) out * in;
        long blocks = (n + BLOCK - 1) / BLOCK;
        Shapes.require(codes, DType.U8, Shape.of((n + 1) / 2), "Nf4Weight", "codes");
        switch (absmax) {
            case Plain plain -> Shapes.require(plain.values, DType.F32, Shape.of(blocks), "Nf4Weight", "absmax");
            case Nested nested -> {
                Shapes.require(nested.codes, DType.U8, Shape.of(blocks), "Nf4Weight", "absmax codes");
                long groups = (blocks + NESTED_BLOCK - 1) / NESTED_BLOCK;
                Shapes.require(nested.absmax2, DType.F32, Shape.of(groups), "Nf4Weight", "nested absmax");
                Shapes.require(nested.map, DType.F32, Shape.of(256), "Nf4Weight", "nested map");
            }
        }
    }

    /** Number of blocks, the last of which may be short. */
    public long blocks() {
        return ((long) out * in + BLOCK - 1) / BLOCK;
    }

    @Override
    public long byteSize() {
        return codes.byteSize() + absmax.byteSize();
    }
}
