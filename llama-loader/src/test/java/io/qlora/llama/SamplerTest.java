package io.qlora.llama;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class SamplerTest {

    private static final int DRAWS = 20_000;

    /** Logits of probabilities 0.1, 0.4, 0.2, 0.3. */
    private static final float[] LOGITS = {
        (float) Math.log(0.1), (float) Math.log(0.4), (float) Math.log(0.2), (float) Math.log(0.3)
    };

    private static double[] frequencies(GenerationOptions options) {
        Sampler sampler = new Sampler(options);
        double[] counts = new double[LOGITS.length];
        for (int i = 0; i < DRAWS; i++) {
            counts[sampler.next(LOGITS, i)] += 1.0 / DRAWS;
        }
        return counts;
    }

    private static void assertFrequencies(GenerationOptions options, double... expected) {
        double[] found = frequencies(options);
        for (int i = 0; i < expected.length; i++) {
            if (expected[i] == 0) {
                assertEquals(0, found[i], "token " + i);
            }
            assertEquals(expected[i], found[i], 0.015, "token " + i);
        }
    }

    private static GenerationOptions.Builder at(double temperature) {
        return GenerationOptions.builder().temperature(temperature).seed(5);
    }

    @Test
    void greedyTakesTheLikeliestAndOfTwoTheFirst() {
        Sampler sampler = new Sampler(GenerationOptions.builder().build());
        assertEquals(1, sampler.next(LOGITS, 0));
        assertEquals(2, sampler.next(new float[] {-3, -2, -1, -1}, 0));
    }

    @Test
    void drawsFollowTheProbabilities() {
        assertFrequencies(at(1).build(), 0.1, 0.4, 0.2, 0.3);
    }

    @Test
    void temperatureSharpens() {
        double sum = 0.01 + 0.16 + 0.04 + 0.09;
        assertFrequencies(at(0.5).build(), 0.01 / sum, 0.16 / sum, 0.04 / sum, 0.09 / sum);
    }

    @Test
    void topKLeavesTheLikeliest() {
        assertFrequencies(at(1).topK(2).build(), 0, 4 / 7.0, 0, 3 / 7.0);
        assertFrequencies(at(1).topK(9).build(), 0.1, 0.4, 0.2, 0.3);
    }

    @Test
    void topPLeavesTheFewestThatReachIt() {
        assertFrequencies(at(1).topP(0.39).build(), 0, 1, 0, 0);
        assertFrequencies(at(1).topP(0.5).build(), 0, 4 / 7.0, 0, 3 / 7.0);
        assertFrequencies(at(1).topP(0.89).build(), 0, 4 / 9.0, 2 / 9.0, 3 / 9.0);
    }

    @Test
    void topPIsOfWhatTopKLeaves() {
        assertFrequencies(at(1).topK(2).topP(0.55).build(), 0, 1, 0, 0);
    }

    @Test
    void tokensLevelWithTheLastOfTopKAreKept() {
        Sampler sampler = new Sampler(at(1).topK(1).build());
        long kinds = IntStream.range(0, 100)
                .map(i -> sampler.next(new float[] {1, 1, 0}, i))
                .distinct()
                .count();
        assertEquals(2, kinds);
    }

    @Test
    void theSeedDecidesTheDraws() {
        int[][] drawn = new int[3][];
        for (int i = 0; i < 3; i++) {
            Sampler sampler = new Sampler(at(1).seed(i / 2).build());
            drawn[i] = IntStream.range(0, 50).map(n -> sampler.next(LOGITS, n)).toArray();
        }
        assertEquals(Arrays.toString(drawn[0]), Arrays.toString(drawn[1]));
        assertNotEquals(Arrays.toString(drawn[0]), Arrays.toString(drawn[2]));
    }

    @ParameterizedTest
    @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY})
    void logitsThatAreNotFiniteAreNamed(float bad) {
        Sampler sampler = new Sampler(GenerationOptions.builder().build());
        NonFiniteLogitsException e =
                assertThrows(NonFiniteLogitsException.class, () -> sampler.next(new float[] {0, bad}, 0));
        assertTrue(e.getMessage().contains("token 1"), e.getMessage());
    }

    @Test
    void impossibleOptionsAreRefused() {
        assertThrows(IllegalArgumentException.class, () -> at(-1).build());
        assertThrows(IllegalArgumentException.class, () -> at(Double.NaN).build());
        assertThrows(IllegalArgumentException.class, () -> at(1).topK(-1).build());
        assertThrows(IllegalArgumentException.class, () -> at(1).topP(0).build());
        assertThrows(IllegalArgumentException.class, () -> at(1).topP(1.1).build());
        assertThrows(IllegalArgumentException.class, () -> at(1).maxNewTokens(0).build());
        assertThrows(IllegalArgumentException.class, () -> at(0).topK(5).build());
    }
}
