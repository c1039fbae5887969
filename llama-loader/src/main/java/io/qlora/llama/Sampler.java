package io.qlora.llama;

import io.qlora.engine.ops.Philox;
import java.util.Arrays;

/**
 * Chooses a token from logits, in the order of transformers: temperature, then top-k, then top-p, then a draw. A draw is a
 * function of the seed and the number of the token, on every machine.
 */
final class Sampler {

    private final GenerationOptions options;
    private final Philox.Key key;

    Sampler(GenerationOptions options) {
        this.options = options;
        this.key = Philox.Key.of(options.seed());
    }

    /**
     * The token that comes next.
     *
     * @param logits [V]
     * @param number of the token in the text that is generated, from 0
     * @throws NonFiniteLogitsException if the logits are not all finite
     */
    int next(float[] logits, int number) {
        int best = 0;
        for (int i = 0; i < logits.length; i++) {
            if (!Float.isFinite(logits[i])) {
                throw new NonFiniteLogitsException(i, logits[i]);
            }
            best = logits[i] > logits[best] ? i : best;
        }
        return options.temperature() == 0 ? best : draw(logits, logits[best], number);
    }

    private int draw(float[] logits, double highest, int number) {
        int[] tokens = candidates(logits);
        double[] cumulative = new double[tokens.length];
        double sum = 0;
        for (int i = 0; i < tokens.length; i++) {
            sum += StrictMath.exp((logits[tokens[i]] - highest) / options.temperature());
            cumulative[i] = sum;
        }
        int kept = 1;
        while (kept < tokens.length && cumulative[kept - 1] < options.topP() * sum) {
            kept++;
        }
        double u = uniform(number) * cumulative[kept - 1];
        int i = 0;
        while (i < kept - 1 && cumulative[i] <= u) {
            i++;
        }
        return tokens[i];
    }

    /** The tokens top-k leaves, those level with the k-th included, likeliest first, then by id. */
    private int[] candidates(float[] logits) {
        long[] order = new long[logits.length]; // a number that is lower for a higher logit, then the id
        for (int i = 0; i < order.length; i++) {
            int bits = Float.floatToIntBits(logits[i]);
            int rising = bits ^ ((bits >> 31) & Integer.MAX_VALUE);
            order[i] = ((long) ~rising << 32) | i;
        }
        Arrays.sort(order);
        int[] tokens = Arrays.stream(order).mapToInt(rank -> (int) rank).toArray();
        int k = options.topK() == 0 ? tokens.length : Math.min(options.topK(), tokens.length);
        while (k < tokens.length && logits[tokens[k]] == logits[tokens[k - 1]]) {
            k++;
        }
        return Arrays.copyOf(tokens, k);
    }

    /** A number from 0 to 1 (exclusive), of 53 random bits. */
    private double uniform(int number) {
        int[] words = new int[4];
        Philox.block(number, 0, 0, 0, key, words);
        long bits = ((words[0] & 0xFFFF_FFFFL) << 21) ^ ((words[1] & 0xFFFF_FFFFL) >>> 11);
        return bits * 0x1p-53;
    }
}
