package io.qlora.llama;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.qlora.engine.safetensors.MalformedFileException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Pattern;

/**
 * The tokens that are added to a vocabulary, as transformers 5 has them: those of {@code tokenizer.json}; those of
 * {@code added_tokens_decoder}, whose flags count, or, where there is none, of {@code added_tokens.json}; and the special
 * tokens of {@link NamedTokens} that these have not. A piece of the vocabulary that is named is found in a text whole from
 * then on, and left out of what is decoded.
 */
final class AddedTokens {

    static final String SPECIAL = "special";

    private static final String CONTENT = "content";
    private static final String NORMALIZED = "normalized";
    private static final Pattern BLANK = Pattern.compile("\\s+", Pattern.UNICODE_CHARACTER_CLASS);

    private final Map<String, ObjectNode> tokens = new LinkedHashMap<>(); // by content

    private AddedTokens() {}

    /**
     * Puts them together.
     *
     * @param file those of tokenizer.json
     * @param names those that are named
     * @param used the class; one that makes the tokenizer anew has names of its own, and tokens by id, of the file's those
     *     alone that {@code added_tokens_decoder} has, if there is one
     */
    static AddedTokens of(List<JsonNode> file, TokenizerSettings settings, NamedTokens names, TokenizerClass used) {
        Map<String, JsonNode> named = names.named();
        AddedTokens added = new AddedTokens();
        if (used == TokenizerClass.PLAIN) {
            file.forEach(token -> added.put(token, false));
        }
        byId(file, settings, names).forEach(token -> added.put(token, named.containsKey(content(token))));
        Set<String> before = Set.copyOf(added.contents());
        named.values().forEach(token -> added.putNew(before, token, true));
        names.extra().forEach(token -> added.putNew(before, token, token.isTextual()));
        return added;
    }

    private static Iterable<JsonNode> byId(List<JsonNode> file, TokenizerSettings settings, NamedTokens names) {
        TreeMap<Integer, JsonNode> tokens = new TreeMap<>();
        for (Map.Entry<String, JsonNode> token :
                settings.config().path(TokenizerSettings.DECODER).properties()) {
            if (token.getKey().matches("\\d{1,9}")) {
                tokens.put(Integer.parseInt(token.getKey()), token.getValue());
            }
        }
        if (!settings.alone()) {
            for (Map.Entry<String, JsonNode> token : settings.added().properties()) {
                boolean special = names.spoken().contains(token.getKey());
                tokens.put(token.getValue().intValue(), plain(token.getKey(), special));
            }
            file.forEach(token -> tokens.put(token.path("id").asInt(), token));
        }
        return tokens.values();
    }

    private static ObjectNode plain(String content, boolean special) {
        return JsonNodeFactory.instance.objectNode().put(CONTENT, content).put(SPECIAL, special);
    }

    static String content(JsonNode token) {
        JsonNode content = token.isObject() ? token.path(CONTENT) : token;
        return content.isTextual() ? content.textValue() : "";
    }

    private void putNew(Set<String> before, JsonNode token, boolean special) {
        String content = content(token);
        if (!before.contains(content)) {
            put(token.isObject() ? token : plain(content, special), special);
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
        whole.put(NORMALIZED, token.path(NORMALIZED).asBoolean(!written));
        tokens.put(content, whole.put(SPECIAL, special || written || before));
    }

    Set<String> contents() {
        return tokens.keySet();
    }

    /**
     * Requires tokens that a text can be divided by, for the library ends the program otherwise.
     *
     * @throws MalformedFileException if one takes the white space behind it, and another is nothing else
     */
    void requireApart(Path file) throws MalformedFileException {
        for (ObjectNode blank : tokens.values()) {
            if (!blank.path("lstrip").asBoolean()
                    || !BLANK.matcher(content(blank)).matches()) {
                continue;
            }
            for (ObjectNode token : tokens.values()) {
                if (token.path("rstrip").asBoolean() && token.path(NORMALIZED).equals(blank.path(NORMALIZED))) {
                    throw new MalformedFileException(
                            file,
                            "an added token that is white space should have no lstrip where another has rstrip, found "
                                    + blank.path(CONTENT) + " and " + token.path(CONTENT));
                }
            }
        }
    }

    /** The id of a token, as {@link #toJson} gave it; -1 if it is none of these. */
    int id(String content) {
        return tokens.containsKey(content) ? tokens.get(content).path("id").asInt() : -1;
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
