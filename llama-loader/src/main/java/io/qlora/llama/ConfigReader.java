package io.qlora.llama;

import com.fasterxml.jackson.databind.JsonNode;
import io.qlora.engine.safetensors.JsonFiles;
import io.qlora.engine.safetensors.MalformedFileException;
import io.qlora.engine.tensor.DType;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.nio.file.Path;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * From {@code config.json} to {@link LlamaConfig}. What would have to be computed otherwise than it is here is refused;
 * what has no bearing on a Llama model ({@code pretraining_tp}, {@code use_cache}, {@code sliding_window}, …) is passed
 * over, as transformers passes it over.
 */
final class ConfigReader {

    static final String FILE = "config.json";

    private static final String TAKE_16_BIT = "take the model in 16 bit, it can be quantised while it is loaded";

    private static final String OTHER_MODEL =
            "train this one with transformers and peft, or take a Llama that has none of this";

    // Its frequencies are stretched only behind max_position_embeddings, where no document goes here.
    private static final String DYNAMIC_IS_DEFAULT =
            "up to max_position_embeddings, the longest documents here, \"dynamic\" is computed as \"default\" is: write that";

    private final JsonFields fields;

    private ConfigReader(JsonFields fields) {
        this.fields = fields;
    }

    static LlamaConfig read(Path directory) throws IOException {
        Path file = directory.resolve(FILE);
        ConfigReader reader = new ConfigReader(new JsonFields(file, "", JsonFiles.readObject(file)));
        reader.requireLlama();
        try {
            return reader.config();
        } catch (IllegalArgumentException e) {
            throw new MalformedFileException(file, e.getMessage(), e);
        }
    }

    private LlamaConfig config() throws MalformedFileException {
        LlamaConfig.Builder builder = LlamaConfig.builder();
        fields.integer("vocab_size").ifPresent(builder::vocabSize);
        fields.integer("hidden_size").ifPresent(builder::hiddenSize);
        fields.integer("intermediate_size").ifPresent(builder::intermediateSize);
        fields.integer("num_hidden_layers").ifPresent(builder::numHiddenLayers);
        fields.integer("num_attention_heads").ifPresent(builder::numAttentionHeads);
        fields.integer("num_key_value_heads").ifPresent(builder::numKeyValueHeads);
        fields.integer("head_dim").ifPresent(builder::headDim);
        int positions = fields.integer("max_position_embeddings").orElse(2048);
        builder.maxPositionEmbeddings(positions);
        fields.number("rms_norm_eps").ifPresent(builder::rmsNormEps);
        fields.number("initializer_range").ifPresent(builder::initializerRange);
        builder.tieWordEmbeddings(fields.flag("tie_word_embeddings", false));
        // Absent, an id has its default; null, there is none.
        if (fields.object().has("bos_token_id")) {
            builder.bosTokenId(fields.integer("bos_token_id"));
        }
        if (fields.object().has("eos_token_id")) {
            builder.eosTokenIds(fields.integers("eos_token_id"));
        }
        builder.rope(rope(positions));
        builder.dtype(dtype());
        quantization().ifPresent(builder::bitsAndBytes);
        return builder.build();
    }

    private void requireLlama() throws MalformedFileException {
        JsonNode architectures = fields.object().path("architectures");
        boolean unnamed = architectures.isMissingNode() || architectures.isNull();
        boolean known = unnamed || (architectures.isArray() && architectures.isEmpty());
        boolean headless = false;
        for (JsonNode architecture : architectures) {
            known |= architecture.asText().equals("LlamaForCausalLM");
            headless |= architecture.asText().equals("LlamaModel");
        }
        if (!known) {
            throw fields.bad(
                    "architectures",
                    "[\"LlamaForCausalLM\"], the only one that is computed here",
                    headless ? ModelFiles.HEADLESS : "");
        }
        boolean named = fields.has("model_type") || !architectures.isEmpty();
        if (!named || !fields.text("model_type").orElse("llama").equals("llama")) {
            throw fields.bad("model_type", "\"llama\", the only one that is computed here");
        }
        refuseIf(
                fields.flag("attention_bias", false),
                "attention_bias",
                "false, since biases are not computed here",
                OTHER_MODEL);
        refuseIf(fields.flag("mlp_bias", false), "mlp_bias", "false, since biases are not computed here", OTHER_MODEL);
        String activation = fields.text("hidden_act").orElse("silu");
        refuseIf(
                !activation.equals("silu") && !activation.equals("swish"),
                "hidden_act",
                "\"silu\", the only activation that is computed here",
                OTHER_MODEL);
        requireWholeHeadRotated(fields);
        if (fields.number("attention_dropout").orElse(0) != 0) {
            System.getLogger("io.qlora.llama")
                    .log(
                            Level.WARNING,
                            "{0}: attention_dropout {1} is not applied: training goes without it",
                            fields.file(),
                            fields.object().get("attention_dropout"));
        }
    }

    private void refuseIf(boolean wrong, String name, String expected, String wayOut) throws MalformedFileException {
        if (wrong) {
            throw fields.bad(name, expected, wayOut);
        }
    }

    private static void requireWholeHeadRotated(JsonFields fields) throws MalformedFileException {
        if (fields.number("partial_rotary_factor").orElse(1) != 1) {
            throw fields.bad("partial_rotary_factor", "1, since heads are rotated whole here", OTHER_MODEL);
        }
    }

    // transformers 4 has rope_theta and rope_scaling, 5 has rope_parameters; a file may have both, and empty ones.
    private RopeParameters rope(int positions) throws MalformedFileException {
        OptionalDouble theta = fields.number("rope_theta");
        Optional<JsonFields> old = fields.fields("rope_scaling").filter(ConfigReader::saysSomething);
        Optional<JsonFields> young = fields.fields("rope_parameters").filter(ConfigReader::saysSomething);
        RopeParameters first = rope(old.or(() -> young), theta, positions);
        RopeParameters second = rope(young.or(() -> old), theta, positions);
        if (!first.equals(second)) {
            throw new MalformedFileException(
                    fields.file(),
                    "rope_scaling and rope_parameters should agree, found " + first + " and " + second
                            + ": delete the one that is wrong");
        }
        return first;
    }

    private static boolean saysSomething(JsonFields rope) {
        return !rope.object().isEmpty();
    }

    private RopeParameters rope(Optional<JsonFields> settings, OptionalDouble outer, int positions)
            throws MalformedFileException {
        if (settings.isEmpty()) {
            return new RopeParameters(positive(fields, "rope_theta", outer.orElse(10000)), new RopeParameters.None());
        }
        JsonFields rope = settings.get();
        requireWholeHeadRotated(rope);
        double theta = rope.number("rope_theta").orElse(outer.orElse(10000));
        String key = rope.has("rope_type") ? "rope_type" : "type";
        String kind = rope.text(key).orElse("default");
        RopeParameters.Scaling scaling = switch (kind) {
            case "default" -> new RopeParameters.None();
            case "linear" -> new RopeParameters.Linear(positive(rope, "factor"));
            case "llama3" -> llama3(rope, positions);
            default ->
                throw rope.bad(
                        key,
                        "\"default\", \"linear\" or \"llama3\", the only ones that are computed here",
                        kind.equals("dynamic") ? DYNAMIC_IS_DEFAULT : OTHER_MODEL);
        };
        return new RopeParameters(positive(rope.has("rope_theta") ? rope : fields, "rope_theta", theta), scaling);
    }

    private RopeParameters.Llama3 llama3(JsonFields rope, int positions) throws MalformedFileException {
        double low = positive(rope, "low_freq_factor");
        double high = positive(rope, "high_freq_factor");
        if (high <= low) {
            throw rope.bad("high_freq_factor", "above low_freq_factor, " + low);
        }
        // As in transformers, the one outside counts before the one inside.
        String original = "original_max_position_embeddings";
        JsonFields holder = fields.has(original) ? fields : rope;
        int context = holder.integer(original).orElse(positions);
        positive(holder, original, context);
        return new RopeParameters.Llama3(positive(rope, "factor"), low, high, context);
    }

    private static double positive(JsonFields fields, String name) throws MalformedFileException {
        OptionalDouble value = fields.number(name);
        if (value.isEmpty()) {
            throw fields.bad(name, "given");
        }
        return positive(fields, name, value.getAsDouble());
    }

    private static double positive(JsonFields fields, String name, double value) throws MalformedFileException {
        if (value <= 0) {
            throw fields.bad(name, "positive");
        }
        return value;
    }

    private DType dtype() throws MalformedFileException {
        String name = fields.has("dtype") ? "dtype" : "torch_dtype";
        return switch (fields.text(name).orElse("float32")) {
            case "float32", "auto" -> DType.F32;
            case "float16" -> DType.F16;
            case "bfloat16" -> DType.BF16;
            default -> throw fields.bad(name, "\"float32\", \"float16\" or \"bfloat16\"");
        };
    }

    private Optional<LlamaConfig.BitsAndBytes> quantization() throws MalformedFileException {
        Optional<JsonFields> found = fields.fields("quantization_config");
        if (found.isEmpty()) {
            return Optional.empty();
        }
        JsonFields quantization = found.get();
        if (!quantization.text("quant_method").orElse("bitsandbytes").equals("bitsandbytes")) {
            throw quantization.bad("quant_method", "\"bitsandbytes\", the only one that is read here", TAKE_16_BIT);
        }
        if (quantization.flag("load_in_8bit", false)) {
            throw quantization.bad("load_in_8bit", "false, since 8-bit weights are not read here", TAKE_16_BIT);
        }
        if (!quantization.flag("load_in_4bit", false)) {
            throw quantization.bad("load_in_4bit", "true", TAKE_16_BIT);
        }
        if (!quantization.text("bnb_4bit_quant_type").orElse("fp4").equals("nf4")) {
            throw quantization.bad("bnb_4bit_quant_type", "\"nf4\", the only one that is read here", TAKE_16_BIT);
        }
        return Optional.of(new LlamaConfig.BitsAndBytes(quantization.flag("bnb_4bit_use_double_quant", false)));
    }
}
