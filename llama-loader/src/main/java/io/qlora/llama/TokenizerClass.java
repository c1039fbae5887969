package io.qlora.llama;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.LinkedHashMap;
import java.util.Map;

/** What a tokenizer's class in transformers 5 makes of {@code tokenizer.json}. */
enum TokenizerClass {
    /** Uses it as it is. */
    PLAIN,
    /** {@code LlamaTokenizer}, which takes vocabulary, merges and template from it and makes the rest itself. */
    LLAMA,
    /** {@code CodeLlamaTokenizer}, the same with little differences. */
    CODE_LLAMA;

    /** What stands for a space in the pieces that the two know. */
    static final String SPACE = "\u2581"; // ▁

    private static final String NAME = "tokenizer_class";

    /** The class that {@code tokenizer_config.json} names, or else {@code config.json}; any but the two is a plain one. */
    static TokenizerClass of(ObjectNode settings, ObjectNode config) {
        ObjectNode named = settings.hasNonNull(NAME) ? settings : config;
        return switch (named.path(NAME).asText()) {
            case "LlamaTokenizer", "LlamaTokenizerFast" -> LLAMA;
            case "CodeLlamaTokenizer", "CodeLlamaTokenizerFast" -> CODE_LLAMA;
            default -> PLAIN;
        };
    }

    /** The special tokens that the class has unless it is told otherwise, by name. */
    Map<String, String> tokens() {
        return this == PLAIN ? Map.of() : Map.of("bos_token", "<s>", "eos_token", "</s>", "unk_token", "<unk>");
    }

    /** The class's own special tokens, by name and in order. */
    Map<String, String> infill() {
        Map<String, String> tokens = new LinkedHashMap<>();
        if (this == CODE_LLAMA) {
            tokens.put("prefix_token", SPACE + "<PRE>");
            tokens.put("middle_token", SPACE + "<MID>");
            tokens.put("suffix_token", SPACE + "<SUF>");
            tokens.put("eot_token", SPACE + "<EOT>");
            tokens.put("fill_token", "<FILL_ME>");
        }
        return tokens;
    }

    /** The template of CodeLlama's class, as {@code post_processor}: BOS, if there is one, and the text. */
    static ObjectNode template(String bos, int id) {
        ObjectNode template = JsonNodeFactory.instance.objectNode().put("type", "TemplateProcessing");
        ObjectNode tokens = template.putObject("special_tokens");
        for (String field : new String[] {"single", "pair"}) {
            ArrayNode pieces = template.putArray(field);
            if (!bos.isEmpty()) {
                pieces.addObject().putObject("SpecialToken").put("id", bos).put("type_id", 0);
            }
            pieces.addObject().putObject("Sequence").put("id", "A").put("type_id", 0);
        }
        template.withArray("pair")
                .addObject()
                .putObject("Sequence")
                .put("id", "B")
                .put("type_id", 1);
        if (!bos.isEmpty()) {
            ObjectNode token = tokens.putObject(bos).put("id", bos);
            token.putArray("ids").add(id);
            token.putArray("tokens").add(bos);
        }
        return template;
    }

    /**
     * The fields of {@code tokenizer.json} that the class makes itself, as its {@code __init__} does; of the model, those
     * but vocabulary and merges.
     */
    ObjectNode made(ObjectNode settings) {
        ObjectNode made = JsonNodeFactory.instance.objectNode();
        if (this == PLAIN) {
            return made;
        }
        boolean prefix = settings.path("add_prefix_space").asBoolean(true);
        boolean legacy = this == LLAMA && settings.path("legacy").asBoolean(false);
        String scheme = legacy ? "always" : "first";
        made.putNull("normalizer");
        made.putObject("pre_tokenizer")
                .put("type", "Metaspace")
                .put("replacement", SPACE)
                .put("prepend_scheme", prefix ? scheme : "never")
                .put("split", false);
        made.set("decoder", decoder(prefix || this == CODE_LLAMA));
        made.putObject(TokenizerJson.MODEL)
                .put("type", "BPE")
                .putNull("dropout")
                .put("unk_token", this == CODE_LLAMA ? unknown(settings) : null)
                .putNull("continuing_subword_prefix")
                .putNull("end_of_word_suffix")
                .put("fuse_unk", true)
                .put("byte_fallback", true)
                .put("ignore_merges", false);
        return made;
    }

    private static String unknown(ObjectNode settings) {
        JsonNode token = settings.path("unk_token");
        return (token.isObject() ? token.path("content") : token).asText("<unk>");
    }

    private static ObjectNode decoder(boolean strip) {
        ObjectNode decoder = JsonNodeFactory.instance.objectNode().put("type", "Sequence");
        ArrayNode steps = decoder.putArray("decoders");
        ObjectNode space = steps.addObject().put("type", "Replace");
        space.putObject("pattern").put("String", SPACE);
        space.put("content", " ");
        steps.addObject().put("type", "ByteFallback");
        steps.addObject().put("type", "Fuse");
        if (strip) {
            steps.addObject()
                    .put("type", "Strip")
                    .put("content", " ")
                    .put("start", 1)
                    .put("stop", 0);
        }
        return decoder;
    }
}
