package io.qlora.llama;

import io.qlora.engine.tensor.DType;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import java.util.OptionalInt;

/**
 * The shape of a Llama model, in the words of Hugging Face's {@code config.json}; the letters used elsewhere are in
 * brackets. The defaults of {@link #builder} are those of transformers' {@code LlamaConfig}.
 *
 * @param vocabSize rows of the embedding [V]; default 32000
 * @param hiddenSize width of the residual stream [C]; default 4096
 * @param intermediateSize width inside the feed-forward part [F]; default 11008
 * @param numHiddenLayers number of blocks; default 32
 * @param numAttentionHeads query heads [H]; default 32
 * @param numKeyValueHeads key and value heads [K], a divisor of H; default H
 * @param headDim width of a head [D], even; default C / H
 * @param maxPositionEmbeddings the longest document, tokens; default 2048
 * @param rmsNormEps added to the mean square in normalisations; default 1e-6
 * @param rope the position embedding; default unscaled with base 10000
 * @param tieWordEmbeddings whether the output head is the embedding; default false
 * @param initializerRange standard deviation of fresh weights; default 0.02
 * @param bosTokenId as {@code config.json} has it, or empty; what begins a document is for the tokenizer to say; default 1
 * @param eosTokenIds the ids that end one, the first is the one to write; default 2
 * @param dtype what the weights are stored in, as far as the file says; default F32
 * @param bitsAndBytes the 4-bit form the linears are stored in, or null
 */
public record LlamaConfig(
        int vocabSize,
        int hiddenSize,
        int intermediateSize,
        int numHiddenLayers,
        int numAttentionHeads,
        int numKeyValueHeads,
        int headDim,
        int maxPositionEmbeddings,
        double rmsNormEps,
        RopeParameters rope,
        boolean tieWordEmbeddings,
        double initializerRange,
        OptionalInt bosTokenId,
        List<Integer> eosTokenIds,
        DType dtype,
        BitsAndBytes bitsAndBytes) {

    /**
     * The linears are stored in 4-bit NormalFloat, as bitsandbytes writes it.
     *
     * @param doubleQuant whether the blocks' scales are themselves quantised
     */
    public record BitsAndBytes(boolean doubleQuant) {}

    /** Far beyond any model: a file that asks for more is not one's description. */
    private static final int MOST_LAYERS = 1 << 14;

    public LlamaConfig {
        requirePositive("vocab_size", vocabSize);
        requirePositive("hidden_size", hiddenSize);
        requirePositive("intermediate_size", intermediateSize);
        requirePositive("num_hidden_layers", numHiddenLayers);
        require(
                numHiddenLayers <= MOST_LAYERS,
                "num_hidden_layers should be at most " + MOST_LAYERS + ", found " + numHiddenLayers);
        requirePositive("num_attention_heads", numAttentionHeads);
        requirePositive("num_key_value_heads", numKeyValueHeads);
        requirePositive("max_position_embeddings", maxPositionEmbeddings);
        require(headDim > 0 && headDim % 2 == 0, "head_dim should be even and positive, found " + headDim);
        require(
                numAttentionHeads % numKeyValueHeads == 0,
                "num_attention_heads should be a multiple of num_key_value_heads, found " + numAttentionHeads + " and "
                        + numKeyValueHeads);
        require(
                (long) numAttentionHeads * headDim <= Integer.MAX_VALUE,
                "num_attention_heads × head_dim should be below 2³¹, found " + numAttentionHeads + " × " + headDim);
        require(rmsNormEps >= 0 && rmsNormEps < 1, "rms_norm_eps should be from 0 to 1, found " + rmsNormEps);
        require(
                initializerRange >= 0 && initializerRange <= 1,
                "initializer_range should be from 0 to 1, found " + initializerRange);
        Objects.requireNonNull(rope);
        Objects.requireNonNull(bosTokenId);
        eosTokenIds = List.copyOf(eosTokenIds);
        require(dtype.isFloat(), "dtype should be a floating-point type, found " + dtype);
    }

    private static void requirePositive(String name, int value) {
        require(value > 0, name + " should be positive, found " + value);
    }

    private static void require(boolean condition, String message) {
        if (!condition) {
            throw new IllegalArgumentException(message);
        }
    }

    /** Width of all query heads together, H·D. */
    public int queryWidth() {
        return numAttentionHeads * headDim;
    }

    /** Width of all key heads together, and of all value heads, K·D. */
    public int keyValueWidth() {
        return numKeyValueHeads * headDim;
    }

    /**
     * Reads {@code config.json} in the spelling of transformers 4 or 5.
     *
     * @param directory a Hugging Face model directory
     * @throws io.qlora.engine.safetensors.MalformedFileException naming the setting, if the model is none that is computed
     *     here exactly as transformers does
     * @throws IOException in a sentence that names the file, if it cannot be read
     */
    public static LlamaConfig read(Path directory) throws IOException {
        return ConfigReader.read(directory);
    }

    /** A builder that has the defaults. */
    public static Builder builder() {
        return new Builder();
    }

    /** Collects the settings of a {@link LlamaConfig}; what is not set has its default. */
    public static final class Builder {
        private int vocabSize = 32000;
        private int hiddenSize = 4096;
        private int intermediateSize = 11008;
        private int numHiddenLayers = 32;
        private int numAttentionHeads = 32;
        private OptionalInt numKeyValueHeads = OptionalInt.empty();
        private OptionalInt headDim = OptionalInt.empty();
        private int maxPositionEmbeddings = 2048;
        private double rmsNormEps = 1e-6;
        private RopeParameters rope = RopeParameters.of(10000);
        private boolean tieWordEmbeddings;
        private double initializerRange = 0.02;
        private OptionalInt bosTokenId = OptionalInt.of(1);
        private List<Integer> eosTokenIds = List.of(2);
        private DType dtype = DType.F32;
        private BitsAndBytes bitsAndBytes;

        private Builder() {}

        public Builder vocabSize(int value) {
            vocabSize = value;
            return this;
        }

        public Builder hiddenSize(int value) {
            hiddenSize = value;
            return this;
        }

        public Builder intermediateSize(int value) {
            intermediateSize = value;
            return this;
        }

        public Builder numHiddenLayers(int value) {
            numHiddenLayers = value;
            return this;
        }

        public Builder numAttentionHeads(int value) {
            numAttentionHeads = value;
            return this;
        }

        public Builder numKeyValueHeads(int value) {
            numKeyValueHeads = OptionalInt.of(value);
            return this;
        }

        public Builder headDim(int value) {
            headDim = OptionalInt.of(value);
            return this;
        }

        public Builder maxPositionEmbeddings(int value) {
            maxPositionEmbeddings = value;
            return this;
        }

        public Builder rmsNormEps(double value) {
            rmsNormEps = value;
            return this;
        }

        public Builder rope(RopeParameters value) {
            rope = value;
            return this;
        }

        public Builder tieWordEmbeddings(boolean value) {
            tieWordEmbeddings = value;
            return this;
        }

        public Builder initializerRange(double value) {
            initializerRange = value;
            return this;
        }

        public Builder bosTokenId(OptionalInt value) {
            bosTokenId = value;
            return this;
        }

        public Builder eosTokenIds(List<Integer> value) {
            eosTokenIds = value;
            return this;
        }

        public Builder dtype(DType value) {
            dtype = value;
            return this;
        }

        public Builder bitsAndBytes(BitsAndBytes value) {
            bitsAndBytes = value;
            return this;
        }

        /**
         * The configuration.
         *
         * @throws IllegalArgumentException naming the setting, if one is impossible
         */
        public LlamaConfig build() {
            require(
                    headDim.isPresent() || (numAttentionHeads > 0 && hiddenSize % numAttentionHeads == 0),
                    "hidden_size should be a multiple of num_attention_heads where head_dim is not given, found "
                            + hiddenSize + " and " + numAttentionHeads);
            return new LlamaConfig(
                    vocabSize,
                    hiddenSize,
                    intermediateSize,
                    numHiddenLayers,
                    numAttentionHeads,
                    numKeyValueHeads.orElse(numAttentionHeads),
                    headDim.isPresent() ? headDim.getAsInt() : hiddenSize / numAttentionHeads,
                    maxPositionEmbeddings,
                    rmsNormEps,
                    rope,
                    tieWordEmbeddings,
                    initializerRange,
                    bosTokenId,
                    eosTokenIds,
                    dtype,
                    bitsAndBytes);
        }
    }
}
