package io.qlora.llama;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.qlora.engine.safetensors.MalformedFileException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * What has to be known of a {@code tokenizer.json} before it is written anew. Read as a stream, as
 * {@link TokenizerVocabulary} is.
 *
 * @param spaces whether any piece of the model has {@link TokenizerClass#SPACE} for a space
 * @param settings the model's fields but vocabulary, merges and such
 * @param template the post_processor
 * @param added the added tokens
 * @param pieces ids of those pieces of the model that are, or may be, added tokens
 * @param size how many pieces the model has
 */
record TokenizerSurvey(
        boolean spaces,
        ObjectNode settings,
        JsonNode template,
        List<JsonNode> added,
        Map<String, Integer> pieces,
        int size) {

    private static final JsonMapper MAPPER = new JsonMapper();

    /** Reads a file, looking for {@code wanted} pieces and those that are added tokens. */
    static TokenizerSurvey of(Path file, Set<String> wanted) throws IOException {
        try (JsonParser parser = MAPPER.createParser(file.toFile())) {
            Scan scan = new Scan(parser, wanted);
            scan.file();
            return new TokenizerSurvey(scan.spaces, scan.settings, scan.template, scan.added, scan.pieces, scan.size);
        }
    }

    /**
     * Requires what can be used as the class has it.
     *
     * @throws MalformedFileException if the model's ids are left to chance, or it is none that the class can make, or the
     *     template names a token that it has no id for
     */
    void requireUsable(Path file, TokenizerClass used) throws MalformedFileException {
        JsonNode dropout = settings.path("dropout");
        if (used == TokenizerClass.PLAIN && dropout.asDouble() != 0) {
            throw new MalformedFileException(
                    file, "model.dropout should be null, since a text has other ids each time, found " + dropout);
        }
        String type = settings.path("type").asText("BPE");
        if (used != TokenizerClass.PLAIN && !type.equals("BPE")) {
            throw new MalformedFileException(
                    file,
                    "model.type should be BPE, as LlamaTokenizer's class has it, found " + type
                            + ": name PreTrainedTokenizerFast as tokenizer_class, if it was trained with that");
        }
        if (used != TokenizerClass.CODE_LLAMA) {
            requireIds(file, template);
        }
    }

    // The library ends the program.
    private static void requireIds(Path file, JsonNode template) throws MalformedFileException {
        for (JsonNode processor : template.path("processors")) {
            requireIds(file, processor);
        }
        for (JsonNode piece : template.path("single")) {
            JsonNode id = piece.path("SpecialToken").path("id");
            if (id.isTextual() && !template.path("special_tokens").has(id.textValue())) {
                throw new MalformedFileException(
                        file,
                        "post_processor should have the ids of its tokens in special_tokens, found none for " + id);
            }
        }
    }

    private static final class Scan {
        private final JsonParser parser;
        private final Set<String> names;
        private final ObjectNode settings = MAPPER.createObjectNode();
        private JsonNode template = MAPPER.nullNode();
        private final List<JsonNode> added = new ArrayList<>();
        private final Map<String, Integer> pieces = new HashMap<>();
        private boolean spaces;
        private int size;

        Scan(JsonParser parser, Set<String> wanted) {
            this.parser = parser;
            this.names = new HashSet<>(wanted);
        }

        void file() throws IOException {
            parser.nextToken();
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String name = parser.currentName();
                JsonToken value = parser.nextToken();
                if (name.equals(TokenizerJson.ADDED)) { // the library writes it before the model
                    for (JsonNode token : MAPPER.<JsonNode>readTree(parser)) {
                        added.add(token);
                        names.add(token.path("content").asText());
                    }
                } else if (name.equals(TokenizerJson.MODEL) && value == JsonToken.START_OBJECT) {
                    model();
                } else if (name.equals(TokenizerJson.TEMPLATE)) {
                    template = MAPPER.readTree(parser);
                } else {
                    parser.skipChildren();
                }
            }
        }

        private void model() throws IOException {
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String field = parser.currentName();
                JsonToken value = parser.nextToken();
                if (field.equals("vocab") && value.isStructStart()) {
                    vocabulary(value == JsonToken.START_ARRAY);
                } else if (value.isScalarValue()) {
                    settings.set(field, MAPPER.<JsonNode>readTree(parser));
                } else {
                    parser.skipChildren();
                }
            }
        }

        // An object of ids, or a unigram model's list of [piece, score].
        private void vocabulary(boolean list) throws IOException {
            for (JsonToken token = parser.nextToken();
                    token != null && !token.isStructEnd();
                    token = parser.nextToken()) {
                String piece = list ? parser.nextTextValue() : parser.currentName();
                parser.nextToken();
                int id = list ? size : parser.getValueAsInt();
                spaces |= piece != null && piece.contains(TokenizerClass.SPACE);
                if (piece != null && names.contains(piece)) {
                    pieces.put(piece, id);
                }
                while (list && parser.currentToken() != JsonToken.END_ARRAY && parser.currentToken() != null) {
                    parser.nextToken();
                }
                size++;
            }
        }
    }
}
