package io.qlora.llama;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.qlora.engine.safetensors.JsonFiles;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/**
 * {@code generation_config.json}, by which transformers generates unless it is told otherwise. The ids that end a text are
 * used here; temperature, top-k, top-p and lengths are the user's to choose; the rest is not applied.
 */
public final class GenerationConfig {

    static final String FILE = "generation_config.json";

    /** What changes the likeliest continuation, or where it ends. */
    private static final Set<String> NOT_APPLIED = Set.of(
            "bad_words_ids",
            "begin_suppress_tokens",
            "encoder_no_repeat_ngram_size",
            "encoder_repetition_penalty",
            "exponential_decay_length_penalty",
            "forced_bos_token_id",
            "forced_eos_token_id",
            "guidance_scale",
            "min_length",
            "min_new_tokens",
            "no_repeat_ngram_size",
            "num_beams",
            "repetition_penalty",
            "sequence_bias",
            "stop_strings",
            "suppress_tokens");

    /** Those of them that say nothing at 1. */
    private static final Set<String> FACTORS =
            Set.of("encoder_repetition_penalty", "guidance_scale", "num_beams", "repetition_penalty");

    /** Those of them that say nothing at 0. */
    private static final Set<String> COUNTS =
            Set.of("encoder_no_repeat_ngram_size", "min_length", "min_new_tokens", "no_repeat_ngram_size");

    private GenerationConfig() {}

    /** The ids that end a text, none if it does not speak of them or is not there. */
    static List<Integer> eosTokenIds(Path directory) throws IOException {
        Path file = directory.resolve(FILE);
        return Files.exists(file)
                ? new JsonFields(file, "", JsonFiles.readObject(file)).integers("eos_token_id")
                : List.of();
    }

    /**
     * What the file of a Hugging Face directory asks for, and a {@link Generator} does not do.
     *
     * @return such as {@code repetition_penalty 1.05}; often nothing
     */
    public static List<String> notApplied(Path directory) throws IOException {
        Path file = directory.resolve(FILE);
        List<String> settings = new ArrayList<>();
        if (Files.exists(file)) {
            ObjectNode config = JsonFiles.readObject(file);
            for (String name : NOT_APPLIED.stream().sorted().toList()) {
                if (config.has(name) && !saysNothing(name, config.get(name))) {
                    settings.add(name + " " + JsonFiles.describe(config.get(name)));
                }
            }
        }
        return settings;
    }

    private static boolean saysNothing(String name, JsonNode value) {
        return value.isNull()
                || (value.isContainerNode() && value.isEmpty())
                || (FACTORS.contains(name) && value.asDouble() == 1)
                || (COUNTS.contains(name) && value.asDouble() == 0);
    }
}
