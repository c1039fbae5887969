package io.qlora.llama;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
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
 * @param bytes whether the model falls back to bytes
 * @param added the added tokens
 * @param pieces ids of those pieces of the model that are, or may be, added tokens
 * @param size how many pieces the model has
 */
record TokenizerSurvey(boolean bytes, List<JsonNode> added, Map<String, Integer> pieces, int size) {

    private static final JsonMapper MAPPER = new JsonMapper();

    /** Reads a file, looking for {@code wanted} pieces and those that are added tokens. */
    static TokenizerSurvey of(Path file, Set<String> wanted) throws IOException {
        try (JsonParser parser = MAPPER.createParser(file.toFile())) {
            Scan scan = new Scan(parser, wanted);
            scan.file();
            return new TokenizerSurvey(scan.bytes, scan.added, scan.pieces, scan.size);
        }
    }

    private static final class Scan {
        private final JsonParser parser;
        private final Set<String> names;
        private final List<JsonNode> added = new ArrayList<>();
        private final Map<String, Integer> pieces = new HashMap<>();
        private boolean bytes;
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
                } else {
                    parser.skipChildren();
                }
            }
        }

        private void model() throws IOException {
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String field = parser.currentName();
                JsonToken value = parser.nextToken();
                bytes |= field.equals("byte_fallback") && value == JsonToken.VALUE_TRUE;
                if (field.equals("vocab") && value.isStructStart()) {
                    vocabulary(value == JsonToken.START_ARRAY);
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
