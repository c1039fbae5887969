package io.qlora.llama;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The special tokens that {@code tokenizer_config.json} names, with what {@code special_tokens_map.json} says instead and
 * in addition, as transformers 5 puts the two together.
 *
 * @param byName those with a name
 * @param extra those without
 * @param spoken contents of those that {@code added_tokens.json} is held against
 */
record NamedTokens(Map<String, JsonNode> byName, List<JsonNode> extra, Set<String> spoken) {

    private static final List<String> NAMES =
            List.of("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token");

    private static final String EXTRA = "extra_special_tokens";
    private static final String ADDITIONAL = "additional_special_tokens"; // as transformers 4 called them
    private static final String NAME = "_token"; // what a name ends with

    static NamedTokens of(TokenizerSettings settings, TokenizerClass used) {
        ObjectNode all = settings.config().deepCopy();
        if (all.has(ADDITIONAL) && all.path(EXTRA).isEmpty()) {
            all.set(EXTRA, all.remove(ADDITIONAL));
        }
        Map<String, JsonNode> others = new LinkedHashMap<>(); // by name, each last
        for (Map.Entry<String, JsonNode> field : settings.config().properties()) {
            if (isOther(field.getKey()) && field.getValue().isTextual()) {
                others.put(field.getKey(), all.remove(field.getKey()));
            }
        }
        takeObject(all, others);
        settings.map().properties().forEach(field -> merge(field.getKey(), field.getValue(), all));
        takeObject(all, others);
        Set<String> spoken = new HashSet<>();
        NAMES.forEach(name -> spoken.add(spoken(all.path(name))));
        all.path(EXTRA).forEach(token -> spoken.add(spoken(token)));
        Map<String, JsonNode> byName = byName(all, used);
        byName.putAll(others);
        return new NamedTokens(byName, extra(all), spoken);
    }

    private static boolean isOther(String field) {
        return field.endsWith(NAME) && !NAMES.contains(field);
    }

    /** Extra tokens in an object have names. */
    private static void takeObject(ObjectNode all, Map<String, JsonNode> others) {
        if (all.path(EXTRA).isObject()) {
            all.remove(EXTRA).properties().forEach(token -> others.put(token.getKey(), token.getValue()));
        }
    }

    private static void merge(String field, JsonNode value, ObjectNode all) {
        if (value.isArray()) {
            boolean more = field.equals(EXTRA) && all.path(EXTRA).isArray();
            ArrayNode tokens = more ? all.withArray(EXTRA) : all.putArray(field);
            value.forEach(token -> tokens.add(special(token)));
        } else {
            all.set(field, field.equals(EXTRA) ? value : special(value));
        }
    }

    /** A token of the map, which are all special. */
    private static JsonNode special(JsonNode token) {
        return token.isObject() ? token.<ObjectNode>deepCopy().put(AddedTokens.SPECIAL, true) : token;
    }

    // An object of tokenizer_config.json is not recognised.
    private static String spoken(JsonNode token) {
        return token.isTextual() || token.path(AddedTokens.SPECIAL).asBoolean() ? AddedTokens.content(token) : "";
    }

    private static Map<String, JsonNode> byName(ObjectNode all, TokenizerClass used) {
        Map<String, JsonNode> byName = new LinkedHashMap<>();
        NAMES.forEach(name -> byName.put(name, all.path(name)));
        used.tokens().forEach((name, token) -> {
            if (!all.has(name)) {
                byName.put(name, JsonNodeFactory.instance.textNode(token));
            }
        });
        infill(all, used, byName);
        for (Map.Entry<String, JsonNode> field : all.properties()) {
            if (isOther(field.getKey())) {
                byName.put(field.getKey(), field.getValue());
            }
        }
        return byName;
    }

    /** CodeLlama's own, which are additional tokens, too: a name that is given another token loses none. */
    private static void infill(ObjectNode all, TokenizerClass used, Map<String, JsonNode> byName) {
        ArrayNode additional = JsonNodeFactory.instance.arrayNode();
        all.path(ADDITIONAL).forEach(additional::add);
        used.infill().forEach((name, token) -> {
            JsonNode value = all.has(name) ? all.get(name) : JsonNodeFactory.instance.textNode(token);
            byName.put(name, value);
            additional.add(value);
        });
        all.set(ADDITIONAL, additional);
    }

    private static List<JsonNode> extra(ObjectNode all) {
        List<JsonNode> extra = new ArrayList<>();
        all.path(all.has(EXTRA) ? EXTRA : ADDITIONAL).forEach(extra::add);
        return extra;
    }

    /** Those with a name, by content. */
    Map<String, JsonNode> named() {
        Map<String, JsonNode> named = new LinkedHashMap<>();
        byName.values().forEach(token -> named.put(AddedTokens.content(token), token));
        return named;
    }

    /** What begins a document in the class's own template; empty where nothing does. */
    String bos() {
        return AddedTokens.content(byName.get("bos_token"));
    }
}
