package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import io.qlora.engine.ops.Philox;
import jdk.incubator.vector.LongVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/** {@link Philox} at many counters at once, each of its words in a lane of 64 bits so that products fit. */
final class CpuPhilox {

    /** The words that are made together. */
    static final int WORDS = 2 * WIDTH;

    private static final VectorSpecies<Long> LONGS = FLOATS.vectorShape().withLanes(long.class);
    private static final VectorShuffle<Long> ZIP_LOW = VectorShuffle.makeZip(LONGS, 0);
    private static final VectorShuffle<Long> ZIP_HIGH = VectorShuffle.makeZip(LONGS, 1);
    private static final LongVector LANES = LongVector.zero(LONGS).addIndex(1);
    private static final long WORD = 0xFFFF_FFFFL;

    private CpuPhilox() {}

    /**
     * The words at counters (0, c1, c2, c3), (1, c1, c2, c3), and so on.
     *
     * @param words where to put them: room for {@code count} rounded up to a multiple of {@link #WORDS}
     * @param count how many are needed
     */
    static void fill(int c1, int c2, int c3, Philox.Key key, int[] words, int count) {
        for (int i = 0; i < count; i += WORDS) {
            fill(i / 4, c1, c2, c3, key.word0(), key.word1(), words, i);
        }
    }

    private static void fill(int c0, int c1, int c2, int c3, int key0, int key1, int[] words, int to) {
        LongVector x0 = LANES.add(c0);
        LongVector x1 = LongVector.broadcast(LONGS, c1 & WORD);
        LongVector x2 = LongVector.broadcast(LONGS, c2 & WORD);
        LongVector x3 = LongVector.broadcast(LONGS, c3 & WORD);
        int k0 = key0;
        int k1 = key1;
        // Both factors are seen to have 32 bits: compilers that know a product of such take it, where one of 64 bits is
        // slow.
        LongVector m0 = LongVector.broadcast(LONGS, Philox.MULTIPLIER_0 & WORD).and(WORD);
        LongVector m2 = LongVector.broadcast(LONGS, Philox.MULTIPLIER_2 & WORD).and(WORD);
        for (int round = 0; round < Philox.ROUNDS; round++) { // what is above a word's 32 bits is of no meaning
            LongVector p0 = x0.and(WORD).mul(m0);
            LongVector p2 = x2.and(WORD).mul(m2);
            x0 = high(p2).lanewise(VectorOperators.XOR, x1).lanewise(VectorOperators.XOR, k0 & WORD);
            x1 = p2;
            x2 = high(p0).lanewise(VectorOperators.XOR, x3).lanewise(VectorOperators.XOR, k1 & WORD);
            x3 = p0;
            k0 += Philox.WEYL_0;
            k1 += Philox.WEYL_1;
        }
        LongVector first = pair(x0, x1); // words 0 and 1 of each counter
        LongVector second = pair(x2, x3);
        first.rearrange(ZIP_LOW, second).reinterpretAsInts().intoArray(words, to);
        first.rearrange(ZIP_HIGH, second).reinterpretAsInts().intoArray(words, to + WIDTH);
    }

    private static LongVector high(LongVector product) {
        return product.lanewise(VectorOperators.LSHR, 32);
    }

    private static LongVector pair(LongVector low, LongVector high) {
        return high.lanewise(VectorOperators.LSHL, 32).or(low.and(WORD));
    }
}
