package io.qlora.llama;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.qlora.engine.safetensors.JsonFiles;
import io.qlora.engine.safetensors.MalformedFileException;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * {@code tokenizer.json} as transformers 5 uses it, which is not always as it is written:
 *
 * <ul>
 *   <li>Where {@code tokenizer_config.json} names the class {@code LlamaTokenizer} or CodeLlama's, vocabulary, merges and
 *       template are the file's, the rest is the class's: the file of a Llama 2 puts ▁ before every stretch of text between
 *       two special tokens, the class before the first alone ({@code legacy} false) and never a second one before a space.
 *   <li>Tokens are added, or changed, as {@link AddedTokens} says.
 * </ul>
 *
 * What needs neither is passed on as it is. So is a file of bytes instead of ▁, whatever class is named: that class cannot
 * read it.
 */
final class TokenizerJson {

    static final String CONFIG = "tokenizer_config.json";

    /** The field of {@link #CONFIG} that has the added tokens by id; transformers 4.34 brought it. */
    static final String DECODER = "added_tokens_decoder";

    /** Special tokens by name; transformers 4 wrote it. */
    static final String MAP = "special_tokens_map.json";

    /** SentencePiece's own file, which Llama 2 has beside. */
    private static final String PIECES = "tokenizer.model";

    private static final JsonMapper MAPPER = new JsonMapper();
    private static final String ADDED = "added_tokens";
    private static final String MODEL = "model";
    private static final String SPACE = "\u2581"; // ▁

    private final Path file;
    private final byte[] rewritten; // null where the file is used as it is

    private TokenizerJson(Path file, byte[] rewritten) {
        this.file = file;
        this.rewritten = rewritten;
    }

    /** The file as it is. */
    static TokenizerJson asIs(Path file) {
        return new TokenizerJson(file, null);
    }

    /** The file of a directory, as its other files have it used. */
    static TokenizerJson read(Path directory) throws IOException {
        Path file = directory.resolve(LlamaTokenizer.FILE);
        if (Files.notExists(file)) {
            throw new NoSuchFileException(file.toString(), null, missing(directory));
        }
        if (!Files.isRegularFile(file)) {
            return asIs(file);
        }
        ObjectNode settings = optional(directory.resolve(CONFIG));
        if (settings.path("split_special_tokens").asBoolean()) {
            throw new MalformedFileException(
                    directory.resolve(CONFIG),
                    "split_special_tokens should be false, since a special token that is in a text is one id here, found"
                            + " true: delete it");
        }
        ObjectNode map = optional(directory.resolve(MAP));
        boolean named = settings.path("tokenizer_class").asText().matches("(Code)?LlamaTokenizer(Fast)?");
        try {
            Survey survey = Survey.of(
                    file, AddedTokens.of(List.of(), settings, map, true).contents());
            boolean rebuilt = named && survey.bytes;
            ArrayNode tokens =
                    AddedTokens.of(survey.added, settings, map, rebuilt).toJson(survey.pieces(), survey.size);
            ObjectNode replaced = rebuilt ? rebuilt(settings) : JsonNodeFactory.instance.objectNode();
            if (!tokens.equals(MAPPER.createArrayNode().addAll(survey.added))) {
                replaced.set(ADDED, tokens);
            }
            return replaced.isEmpty() ? asIs(file) : new TokenizerJson(file, write(file, replaced));
        } catch (JsonProcessingException e) {
            return asIs(file); // whoever reads it next says where it is broken
        }
    }

    private static String missing(Path directory) {
        return Files.exists(directory.resolve(PIECES))
                ? "no such file, found " + PIECES
                        + " alone: have transformers make it, with AutoTokenizer.from_pretrained(\"" + directory
                        + "\").save_pretrained(\"" + directory + "\")"
                : "no such file: get it from where the model is from";
    }

    private static ObjectNode optional(Path file) throws IOException {
        return Files.exists(file) ? JsonFiles.readObject(file) : JsonNodeFactory.instance.objectNode();
    }

    /**
     * What has to be known before anything is written.
     *
     * @param bytes whether the model falls back to bytes
     * @param added the added tokens
     * @param pieces ids of those pieces of the model that are, or may be, added tokens
     * @param size how many pieces the model has
     */
    private record Survey(boolean bytes, List<JsonNode> added, Map<String, Integer> pieces, int size) {

        static Survey of(Path file, Set<String> wanted) throws IOException {
            boolean bytes = false;
            List<JsonNode> added = new ArrayList<>();
            Set<String> names = new HashSet<>(wanted);
            Map<String, Integer> pieces = new HashMap<>();
            int size = 0;
            try (JsonParser parser = MAPPER.createParser(file.toFile())) {
                parser.nextToken();
                while (parser.nextToken() == JsonToken.FIELD_NAME) {
                    String name = parser.currentName();
                    JsonToken value = parser.nextToken();
                    if (name.equals(ADDED)) { // the library writes it before the model
                        for (JsonNode token : MAPPER.<JsonNode>readTree(parser)) {
                            added.add(token);
                            names.add(token.path("content").asText());
                        }
                    } else if (name.equals(MODEL) && value == JsonToken.START_OBJECT) {
                        while (parser.nextToken() == JsonToken.FIELD_NAME) {
                            String field = parser.currentName();
                            JsonToken start = parser.nextToken();
                            bytes |= field.equals("byte_fallback") && start == JsonToken.VALUE_TRUE;
                            if (field.equals("vocab") && start.isStructStart()) {
                                size = vocabulary(parser, names, pieces);
                            } else {
                                parser.skipChildren();
                            }
                        }
                    } else {
                        parser.skipChildren();
                    }
                }
            }
            return new Survey(bytes, added, pieces, size);
        }

        // An object of ids, or a unigram model's list of [piece, score].
        private static int vocabulary(JsonParser parser, Set<String> names, Map<String, Integer> pieces)
                throws IOException {
            boolean list = parser.currentToken() == JsonToken.START_ARRAY;
            int size = 0;
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
            return size;
        }
    }

    // transformers' LlamaTokenizer.__init__, or CodeLlamaTokenizer's
    private static ObjectNode rebuilt(ObjectNode settings) {
        boolean code = settings.path("tokenizer_class").asText().startsWith("Code");
        boolean prefix = settings.path("add_prefix_space").asBoolean(true);
        boolean legacy = !code && settings.path("legacy").asBoolean(false);
        String scheme = legacy ? "always" : "first";
        ObjectNode replaced = JsonNodeFactory.instance.objectNode();
        replaced.putNull("normalizer");
        replaced.putObject("pre_tokenizer")
                .put("type", "Metaspace")
                .put("replacement", SPACE)
                .put("prepend_scheme", prefix ? scheme : "never")
                .put("split", false);
        ArrayNode decoders =
                replaced.putObject("decoder").put("type", "Sequence").putArray("decoders");
        ObjectNode space = decoders.addObject().put("type", "Replace");
        space.putObject("pattern").put("String", SPACE);
        space.put("content", " ");
        decoders.addObject().put("type", "ByteFallback");
        decoders.addObject().put("type", "Fuse");
        if (prefix || code) {
            decoders.addObject()
                    .put("type", "Strip")
                    .put("content", " ")
                    .put("start", 1)
                    .put("stop", 0);
        }
        return replaced;
    }

    private static byte[] write(Path file, ObjectNode replaced) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream(Math.toIntExact(Files.size(file)));
        try (JsonParser parser = MAPPER.createParser(file.toFile());
                JsonGenerator out = new JsonFactory().setCodec(MAPPER).createGenerator(bytes)) {
            parser.nextToken();
            out.writeStartObject();
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String name = parser.currentName();
                parser.nextToken();
                if (replaced.has(name)) {
                    parser.skipChildren();
                } else {
                    out.writeFieldName(name);
                    out.copyCurrentStructure(parser);
                }
            }
            for (Map.Entry<String, JsonNode> field : replaced.properties()) {
                out.writePOJOField(field.getKey(), field.getValue());
            }
            out.writeEndObject();
        }
        return bytes.toByteArray();
    }

    Path file() {
        return file;
    }

    /** What is to be read. */
    InputStream open() throws IOException {
        return rewritten == null ? Files.newInputStream(file) : new ByteArrayInputStream(rewritten);
    }
}
