package io.qlora.engine.ops;

import io.qlora.engine.nn.StepKey;

/**
 * Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"): random numbers as a function of a counter
 * of four words and a key of two, with no state to keep. Each call gives four words of 32 random bits.
 */
public final class Philox {

    /** What the first and the third word of the counter are multiplied by in a round. */
    public static final int MULTIPLIER_0 = 0xD2511F53;

    public static final int MULTIPLIER_2 = 0xCD9E8D57;

    /** What the key's words grow by from round to round. */
    public static final int WEYL_0 = 0x9E3779B9;

    public static final int WEYL_1 = 0xBB67AE85;

    /** Number of rounds. */
    public static final int ROUNDS = 10;

    private static final long WORD = 0xFFFF_FFFFL;

    private Philox() {}

    /** A key: the family of random numbers that a counter picks from. */
    public record Key(int word0, int word1) {

        /** The key of a seed. */
        public static Key of(long seed) {
            return new Key((int) seed, (int) (seed >>> 32));
        }

        /** The key of a step: the first two words that the seed's key gives for the step's number. */
        public static Key of(StepKey step) {
            int[] words = new int[4];
            block((int) step.step(), (int) (step.step() >>> 32), 0, 0, of(step.seed()), words);
            return new Key(words[0], words[1]);
        }
    }

    /**
     * The four words at a counter.
     *
     * @param words where to put them, 4
     */
    public static void block(int counter0, int counter1, int counter2, int counter3, Key key, int[] words) {
        int x0 = counter0;
        int x1 = counter1;
        int x2 = counter2;
        int x3 = counter3;
        int k0 = key.word0;
        int k1 = key.word1;
        for (int round = 0; round < ROUNDS; round++) {
            long p0 = (MULTIPLIER_0 & WORD) * (x0 & WORD);
            long p2 = (MULTIPLIER_2 & WORD) * (x2 & WORD);
            x0 = (int) (p2 >>> 32) ^ x1 ^ k0;
            x1 = (int) p2;
            x2 = (int) (p0 >>> 32) ^ x3 ^ k1;
            x3 = (int) p0;
            k0 += WEYL_0;
            k1 += WEYL_1;
        }
        words[0] = x0;
        words[1] = x1;
        words[2] = x2;
        words[3] = x3;
    }
}
