package io.qlora.llama;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.qlora.engine.tensor.DType;

/** From {@link LlamaConfig} to {@code config.json}, in the spelling of transformers 4, which 5 reads too. */
final class ConfigWriter {

    private ConfigWriter() {}

    /**
     * The object to be written.
     *
     * @param tied whether the head is the embedding in the files that go with it
     * @param dtype of the weights in them
     */
    static ObjectNode json(LlamaConfig config, boolean tied, DType dtype) {
        ObjectNode json = JsonNodeFactory.instance.objectNode();
        json.putArray("architectures").add("LlamaForCausalLM");
        json.put("attention_bias", false);
        json.put("attention_dropout", 0.0);
        config.bosTokenId().ifPresentOrElse(id -> json.put("bos_token_id", id), () -> json.putNull("bos_token_id"));
        switch (config.eosTokenIds().size()) {
            case 0 -> json.putNull("eos_token_id");
            case 1 -> json.put("eos_token_id", config.eosTokenIds().getFirst());
            default -> config.eosTokenIds().forEach(json.putArray("eos_token_id")::add);
        }
        json.put("head_dim", config.headDim());
        json.put("hidden_act", "silu");
        json.put("hidden_size", config.hiddenSize());
        json.put("initializer_range", config.initializerRange());
        json.put("intermediate_size", config.intermediateSize());
        json.put("max_position_embeddings", config.maxPositionEmbeddings());
        json.put("mlp_bias", false);
        json.put("model_type", "llama");
        json.put("num_attention_heads", config.numAttentionHeads());
        json.put("num_hidden_layers", config.numHiddenLayers());
        json.put("num_key_value_heads", config.numKeyValueHeads());
        json.put("rms_norm_eps", config.rmsNormEps());
        putRope(json, config.rope());
        json.put("tie_word_embeddings", tied);
        json.put("torch_dtype", name(dtype));
        json.put("vocab_size", config.vocabSize());
        return json;
    }

    private static void putRope(ObjectNode json, RopeParameters rope) {
        switch (rope.scaling()) {
            case RopeParameters.None() -> json.putNull("rope_scaling");
            case RopeParameters.Linear(double factor) ->
                json.putObject("rope_scaling").put("rope_type", "linear").put("factor", factor);
            case RopeParameters.Llama3(double factor, double low, double high, int original) ->
                json.putObject("rope_scaling")
                        .put("rope_type", "llama3")
                        .put("factor", factor)
                        .put("low_freq_factor", low)
                        .put("high_freq_factor", high)
                        .put("original_max_position_embeddings", original);
        }
        json.put("rope_theta", rope.theta());
    }

    private static String name(DType dtype) {
        return switch (dtype) {
            case F32 -> "float32";
            case F16 -> "float16";
            case BF16 -> "bfloat16";
            case I32, U8 -> throw new IllegalArgumentException("weights should be floating-point, found " + dtype);
        };
    }
}
