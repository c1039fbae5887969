package io.qlora.nf4.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.INTS;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import io.qlora.nf4.Nf4;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.LongVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/**
 * {@link BlockEncoder} in vectors, for whole blocks: a binary search among the midpoints, those of the last two steps
 * picked from tables by the bits found so far.
 */
final class VectorBlockEncoder {

    private static final int BLOCK = Nf4Reader.BLOCK;
    private static final float[] MIDPOINTS = Nf4.midpoints();
    private static final int[] QUARTERS = new int[16]; // what divides the codes 4i … 4i+3, by i modulo 4
    private static final int[] PAIRS = new int[16]; // what divides the codes 2i and 2i+1, by i modulo 8

    static {
        for (int i = 0; i < 16; i++) {
            QUARTERS[i] = Float.floatToRawIntBits(MIDPOINTS[4 * (i % 4) + 1]);
            PAIRS[i] = Float.floatToRawIntBits(MIDPOINTS[2 * (i % 8)]);
        }
    }

    private VectorBlockEncoder() {}

    /** As {@link BlockEncoder#encode} from 0, for {@code blocks} whole blocks. */
    static void encode(float[] x, int blocks, int[] codes, float[] absmax) {
        for (int b = 0; b < blocks; b++) { // all of them first: no division waits for a maximum across lanes
            absmax[b] = largest(x, b * BLOCK);
        }
        for (int b = 0; b < blocks; b++) {
            encode(x, b * BLOCK, 1 / BlockEncoder.divisor(absmax[b]), codes);
        }
    }

    /** Without their signs, floats are ordered as their bits are, NaN above all: one instruction where floats' takes many. */
    private static float largest(float[] x, int start) {
        IntVector largest = IntVector.zero(INTS);
        for (int i = start; i < start + BLOCK; i += WIDTH) {
            IntVector bits = FloatVector.fromArray(FLOATS, x, i).reinterpretAsInts();
            largest = largest.max(bits.and(Integer.MAX_VALUE));
        }
        return Float.intBitsToFloat(largest.reduceLanes(VectorOperators.MAX));
    }

    private static void encode(float[] x, int start, float reciprocal, int[] codes) {
        IntVector quarters = IntVector.fromArray(INTS, QUARTERS, 0);
        IntVector pairs = IntVector.fromArray(INTS, PAIRS, 0);
        IntVector upperPairs = IntVector.fromArray(INTS, PAIRS, WIDTH % 8);
        for (int i = start; i < start + BLOCK; i += WIDTH) {
            code(FloatVector.fromArray(FLOATS, x, i).mul(reciprocal), quarters, pairs, upperPairs)
                    .intoArray(codes, i);
        }
    }

    /** The codes, four bits from the top: each is set unless the element is at most the midpoint, so that NaN gets 15. */
    private static IntVector code(FloatVector x, IntVector quarters, IntVector pairs, IntVector upperPairs) {
        VectorMask<Float> lower = x.compare(VectorOperators.LE, MIDPOINTS[7]);
        FloatVector eighth = FloatVector.broadcast(FLOATS, MIDPOINTS[11]).blend(MIDPOINTS[3], lower);
        IntVector code = IntVector.broadcast(INTS, 3).blend(1, lower.cast(INTS));
        code = code.sub(1, below(x, eighth));
        FloatVector quarter = code.selectFrom(quarters).reinterpretAsFloats();
        code = code.add(code).add(1).sub(1, below(x, quarter));
        FloatVector pair = pair(code, pairs, upperPairs).reinterpretAsFloats();
        return code.add(code).add(1).sub(1, below(x, pair));
    }

    private static IntVector pair(IntVector code, IntVector pairs, IntVector upperPairs) {
        IntVector pair = code.selectFrom(pairs);
        return WIDTH >= 8 ? pair : pair.blend(code.selectFrom(upperPairs), code.compare(VectorOperators.GE, 4));
    }

    private static VectorMask<Integer> below(FloatVector x, FloatVector midpoint) {
        return x.compare(VectorOperators.LE, midpoint).cast(INTS);
    }

    /**
     * Packs codes two a byte, where a vector of bytes has as many lanes as one of longs.
     *
     * @return how many of the {@code count} codes have been packed
     */
    static int pack(int[] codes, int count, byte[] packed) {
        int i = 0;
        for (; WIDTH == 16 && i <= count - WIDTH; i += WIDTH) {
            LongVector pairs = IntVector.fromArray(INTS, codes, i).reinterpretAsLongs();
            LongVector bytes = pairs.lanewise(VectorOperators.LSHL, 4).or(pairs.lanewise(VectorOperators.LSHR, 32));
            bytes.convertShape(VectorOperators.L2B, ByteVector.SPECIES_64, 0)
                    .reinterpretAsBytes()
                    .intoArray(packed, i / 2);
        }
        return i;
    }
}
