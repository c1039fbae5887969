package io.qlora.llama;

import java.util.Set;

/**
 * How text is generated. The defaults are greedy: the likeliest token each time.
 *
 * @param maxNewTokens the most tokens to generate; default 256
 * @param temperature what logits are divided by before a token is drawn; 0, the default, draws none: it is greedy
 * @param topK only the k likeliest tokens are drawn from; 0, the default, for all
 * @param topP only the likeliest tokens that together reach this probability are drawn from; default 1, all
 * @param seed of the draws: the same seed, the same text; default 0
 * @param stopIds the ids that end the text; null, the default, for those of the model's config
 */
public record GenerationOptions(
        int maxNewTokens, double temperature, int topK, double topP, long seed, Set<Integer> stopIds) {

    public GenerationOptions {
        require(maxNewTokens > 0, "maxNewTokens should be positive, found " + maxNewTokens);
        require(
                temperature >= 0 && Double.isFinite(temperature),
                "temperature should be 0 or more, found " + temperature);
        require(topK >= 0, "topK should be 0 or more, found " + topK);
        require(topP > 0 && topP <= 1, "topP should be above 0 and at most 1, found " + topP);
        require(
                temperature > 0 || (topK == 0 && topP == 1),
                "topK and topP choose what is drawn from, but at temperature 0 nothing is drawn: set a temperature");
        stopIds = stopIds == null ? null : Set.copyOf(stopIds);
    }

    private static void require(boolean condition, String message) {
        if (!condition) {
            throw new IllegalArgumentException(message);
        }
    }

    /** The same, but ended by these ids. */
    public GenerationOptions withStopIds(Set<Integer> ids) {
        return new GenerationOptions(maxNewTokens, temperature, topK, topP, seed, ids);
    }

    /** A builder that has the defaults. */
    public static Builder builder() {
        return new Builder();
    }

    /** Collects the settings of {@link GenerationOptions}. */
    public static final class Builder {
        private int maxNewTokens = 256;
        private double temperature;
        private int topK;
        private double topP = 1;
        private long seed;
        private Set<Integer> stopIds;

        private Builder() {}

        public Builder maxNewTokens(int value) {
            maxNewTokens = value;
            return this;
        }

        public Builder temperature(double value) {
            temperature = value;
            return this;
        }

        public Builder topK(int value) {
            topK = value;
            return this;
        }

        public Builder topP(double value) {
            topP = value;
            return this;
        }

        public Builder seed(long value) {
            seed = value;
            return this;
        }

        public Builder stopIds(Set<Integer> value) {
            stopIds = value;
            return this;
        }

        public GenerationOptions build() {
            return new GenerationOptions(maxNewTokens, temperature, topK, topP, seed, stopIds);
        }
    }
}
