package io.qlora.engine.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;

import io.qlora.engine.ops.Philox;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class CpuPhiloxTest {

    @Test
    void manyCountersAtOnceGiveTheWordsOfEach() {
        Philox.Key key = new Philox.Key(0xdeadbeef, -7);
        int count = 3 * CpuPhilox.WORDS + 4;
        int[] words = new int[4 * CpuPhilox.WORDS];
        CpuPhilox.fill(5, -1, 0x80000001, key, words, count);
        int[] expected = new int[4];
        for (int i = 0; i < count; i += 4) {
            Philox.block(i / 4, 5, -1, 0x80000001, key, expected);
            assertArrayEquals(expected, Arrays.copyOfRange(words, i, i + 4), "words " + i + " to " + (i + 4));
        }
    }
}
