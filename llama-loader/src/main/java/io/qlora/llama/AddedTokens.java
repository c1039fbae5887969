package io.qlora.llama;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * The tokens that are added to a vocabulary, as transformers 5 has them: those of {@code tokenizer.json}; those of
 * {@code added_tokens_decoder}, whose flags count; and the special tokens that {@code tokenizer_config.json} names and these
 * have not, or, where there is no {@code added_tokens_decoder}, {@code special_tokens_map.json}. A piece of the vocabulary
 * that is named is found in a text whole from then on, and left out of what is decoded.
 */
final class AddedTokens {

    private static final List<String> NAMES =
            List.of("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token");

    /** What LlamaTokenizer and CodeLlama's class have, unless they are told otherwise. */
    private static final Map<String, String> CLASS =
            Map.of("bos_token", "<s>", "eos_token", "</s>", "unk_token", "<unk>");

    private static final String EXTRA = "extra_special_tokens";
    private static final String ADDITIONAL = "additional_special_tokens"; // as transformers 4 called them
    private static final String CONTENT = "content";
    private static final String SPECIAL = "special";

    private final Map<String, ObjectNode> tokens = new LinkedHashMap<>(); // by content

    private AddedTokens() {}

    /**
     * Puts them together.
     *
     * @param file those of tokenizer.json
     * @param settings tokenizer_config.json
     * @param map special_tokens_map.json
     * @param rebuilt whether LlamaTokenizer's class, or CodeLlama's, makes the tokenizer anew: it has names of its own, and of
     *     the file's tokens those alone that {@code added_tokens_decoder} has, if there is one
     */
    static AddedTokens of(Iterable<JsonNode> file, ObjectNode settings, ObjectNode map, boolean rebuilt) {
        boolean alone = settings.has(TokenizerJson.DECODER);
        Map<String, JsonNode> named = named(settings, alone ? JsonNodeFactory.instance.objectNode() : map, rebuilt);
        AddedTokens added = new AddedTokens();
        if (!(alone && rebuilt)) {
            file.forEach(token -> added.put(token, !alone && named.containsKey(content(token))));
        }
        byId(settings.path(TokenizerJson.DECODER))
                .forEach(token -> added.put(token, named.containsKey(content(token))));
        named.forEach((content, token) -> added.putIfAbsent(token));
        extra(settings, alone ? JsonNodeFactory.instance.objectNode() : map).forEach(added::putIfAbsent);
        return added;
    }

    private static Iterable<JsonNode> byId(JsonNode decoder) {
        Map<Integer, JsonNode> tokens = new TreeMap<>();
        for (Map.Entry<String, JsonNode> entry : decoder.properties()) {
            if (entry.getKey().matches("\\d{1,9}")) {
                tokens.put(Integer.parseInt(entry.getKey()), entry.getValue());
            }
        }
        return tokens.values();
    }

    /** The special tokens that have a name, by content. */
    private static Map<String, JsonNode> named(ObjectNode settings, ObjectNode map, boolean rebuilt) {
        List<JsonNode> tokens = new ArrayList<>();
        for (String name : NAMES) {
            JsonNode token = map.has(name) ? map.get(name) : settings.path(name);
            boolean ofClass = rebuilt && token.isMissingNode();
            tokens.add(ofClass ? JsonNodeFactory.instance.textNode(CLASS.getOrDefault(name, "")) : token);
        }
        for (Map.Entry<String, JsonNode> entry : settings.properties()) {
            if (entry.getKey().endsWith("_token") && !NAMES.contains(entry.getKey())) {
                tokens.add(entry.getValue());
            }
        }
        if (settings.path(EXTRA).isObject()) {
            settings.path(EXTRA).forEach(tokens::add);
        }
        Map<String, JsonNode> named = new LinkedHashMap<>();
        tokens.forEach(token -> named.put(content(token), token));
        return named;
    }

    /** The special tokens that have none. */
    private static List<JsonNode> extra(ObjectNode settings, ObjectNode map) {
        List<JsonNode> tokens = new ArrayList<>();
        for (ObjectNode file : List.of(settings, map)) {
            JsonNode extra = file.path(EXTRA);
            (extra.isArray() && !extra.isEmpty() ? extra : file.path(ADDITIONAL)).forEach(tokens::add);
        }
        return tokens;
    }

    private static String content(JsonNode token) {
        JsonNode content = token.isObject() ? token.path(CONTENT) : token;
        return content.isTextual() ? content.textValue() : "";
    }

    private void putIfAbsent(JsonNode token) {
        String content = content(token);
        if (!tokens.containsKey(content)) {
            ObjectNode plain =
                    JsonNodeFactory.instance.objectNode().put(CONTENT, content).put(SPECIAL, true);
            put(token.isObject() ? token : plain, true);
        }
    }

    /** Adds a token, or gives one that is there its flags; but what was special stays so. */
    private void put(JsonNode token, boolean special) {
        String content = content(token);
        if (content.isEmpty()) {
            return;
        }
        boolean written = token.path(SPECIAL).asBoolean();
        boolean before =
                tokens.containsKey(content) && tokens.get(content).path(SPECIAL).asBoolean();
        ObjectNode whole = JsonNodeFactory.instance.objectNode();
        whole.put("id", -1).put(CONTENT, content);
        for (String flag : new String[] {"single_word", "lstrip", "rstrip"}) {
            whole.put(flag, token.path(flag).asBoolean());
        }
        whole.put("normalized", token.path("normalized").asBoolean(!written));
        tokens.put(content, whole.put(SPECIAL, special || written || before));
    }

    Set<String> contents() {
        return tokens.keySet();
    }

    /**
     * As {@code tokenizer.json} has them, with the ids that its library gives, whatever is written there.
     *
     * @param vocabulary ids of those that are pieces of the model, at least
     * @param pieces how many the model has
     */
    ArrayNode toJson(Map<String, Integer> vocabulary, int pieces) {
        ArrayNode list = JsonNodeFactory.instance.arrayNode();
        int next = pieces;
        for (ObjectNode token : tokens.values()) {
            Integer piece = vocabulary.get(content(token));
            int id = piece == null ? next : piece;
            next = Math.max(next, id + 1);
            list.add(token.put("id", id));
        }
        return list;
    }
}
