package io.qlora.engine.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;

import io.qlora.engine.nn.StepKey;
import org.junit.jupiter.api.Test;

class PhiloxTest {

    /** The vectors for {@code philox4x32 10} of Random123's {@code kat_vectors}. */
    @Test
    void givesTheKnownAnswersOfRandom123() {
        assertGives(
                new int[] {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
                new int[] {0, 0, 0, 0},
                new Philox.Key(0, 0));
        assertGives(
                new int[] {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
                new int[] {-1, -1, -1, -1},
                new Philox.Key(-1, -1));
        assertGives(
                new int[] {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
                new int[] {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                new Philox.Key(0xa4093822, 0x299f31d0));
    }

    private static void assertGives(int[] expected, int[] counter, Philox.Key key) {
        int[] words = new int[4];
        Philox.block(counter[0], counter[1], counter[2], counter[3], key, words);
        assertArrayEquals(expected, words);
    }

    @Test
    void theKeyOfAStepDependsOnAllBitsOfSeedAndStep() {
        Philox.Key key = Philox.Key.of(new StepKey(1, 1));
        assertNotEquals(key, Philox.Key.of(new StepKey(2, 1)));
        assertNotEquals(key, Philox.Key.of(new StepKey(1, 2)));
        assertNotEquals(key, Philox.Key.of(new StepKey(1 | 1L << 40, 1)));
        assertNotEquals(key, Philox.Key.of(new StepKey(1, 1 | 1L << 40)));
    }
}
