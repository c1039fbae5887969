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
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;

/**
 * {@code tokenizer.json} as transformers 5 uses it, which is not always as it is written:
 *
 * <ul>
 *   <li>Where {@code tokenizer_config.json} names the class {@code LlamaTokenizer} or CodeLlama's, vocabulary, merges and
 *       template are the file's, the rest is the class's: the file of a Llama 2 puts ▁ before every stretch of text between
 *       two special tokens, the class before the first alone ({@code legacy} false) and never a second one before a space.
 *   <li>Tokens that only {@code added_tokens_decoder} of {@code tokenizer_config.json} has are added.
 * </ul>
 *
 * What needs neither is passed on as it is. So is a file of bytes instead of ▁, whatever class is named: that class cannot
 * read it.
 */
final class TokenizerJson {

    static final String CONFIG = "tokenizer_config.json";

    /** The field of {@link #CONFIG} that has the added tokens by id; transformers 4.34 brought it. */
    static final String DECODER = "added_tokens_decoder";

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
        Path config = directory.resolve(CONFIG);
        if (Files.notExists(file)) {
            throw new NoSuchFileException(file.toString(), null, missing(directory));
        }
        if (!Files.isRegularFile(file) || !Files.exists(config)) {
            return asIs(file);
        }
        ObjectNode settings = JsonFiles.readObject(config);
        boolean named = settings.path("tokenizer_class").asText().matches("(Code)?LlamaTokenizer(Fast)?");
        JsonNode tokens = settings.path(DECODER);
        if (!named && tokens.isEmpty()) {
            return asIs(file);
        }
        try {
            Survey survey = Survey.of(file);
            ObjectNode replaced = named && survey.bytes ? rebuilt(settings) : JsonNodeFactory.instance.objectNode();
            ArrayNode more = missing(tokens, survey.added);
            return replaced.isEmpty() && more.isEmpty()
                    ? asIs(file)
                    : new TokenizerJson(file, write(file, replaced, more));
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

    /** What has to be known before anything is written. */
    private record Survey(boolean bytes, Set<String> added) {

        static Survey of(Path file) throws IOException {
            boolean bytes = false;
            Set<String> added = new HashSet<>();
            try (JsonParser parser = MAPPER.createParser(file.toFile())) {
                parser.nextToken();
                while (parser.nextToken() == JsonToken.FIELD_NAME) {
                    String name = parser.currentName();
                    JsonToken value = parser.nextToken();
                    if (name.equals(ADDED)) {
                        for (JsonNode token : MAPPER.<JsonNode>readTree(parser)) {
                            added.add(token.path("content").asText());
                        }
                    } else if (name.equals(MODEL) && value == JsonToken.START_OBJECT) {
                        while (parser.nextToken() == JsonToken.FIELD_NAME) {
                            boolean fallback = parser.currentName().equals("byte_fallback");
                            bytes |= parser.nextToken() == JsonToken.VALUE_TRUE && fallback;
                            parser.skipChildren();
                        }
                    } else {
                        parser.skipChildren();
                    }
                }
            }
            return new Survey(bytes, added);
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

    /** Tokens of {@code added_tokens_decoder} that are not in the file, by id. */
    private static ArrayNode missing(JsonNode decoder, Set<String> added) {
        Map<Integer, ObjectNode> tokens = new TreeMap<>();
        for (Map.Entry<String, JsonNode> entry : decoder.properties()) {
            boolean known = added.contains(entry.getValue().path("content").asText());
            if (!known
                    && entry.getValue() instanceof ObjectNode token
                    && entry.getKey().matches("\\d{1,9}")) {
                int id = Integer.parseInt(entry.getKey());
                ObjectNode whole = JsonNodeFactory.instance.objectNode().put("id", id);
                for (String flag : new String[] {"single_word", "lstrip", "rstrip", "normalized", "special"}) {
                    whole.put(flag, token.path(flag).asBoolean());
                }
                tokens.put(id, whole.set("content", token.path("content")));
            }
        }
        ArrayNode list = JsonNodeFactory.instance.arrayNode();
        tokens.values().forEach(list::add);
        return list;
    }

    private static byte[] write(Path file, ObjectNode replaced, ArrayNode more) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream(Math.toIntExact(Files.size(file)));
        try (JsonParser parser = MAPPER.createParser(file.toFile());
                JsonGenerator out = new JsonFactory().setCodec(MAPPER).createGenerator(bytes)) {
            parser.nextToken();
            out.writeStartObject();
            boolean written = false;
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String name = parser.currentName();
                parser.nextToken();
                if (name.equals(ADDED)) {
                    ArrayNode tokens = MAPPER.createArrayNode();
                    MAPPER.<JsonNode>readTree(parser).forEach(tokens::add);
                    out.writePOJOField(ADDED, tokens.addAll(more));
                    written = true;
                } else if (replaced.has(name)) {
                    parser.skipChildren();
                } else {
                    out.writeFieldName(name);
                    out.copyCurrentStructure(parser);
                }
            }
            for (Map.Entry<String, JsonNode> field : replaced.properties()) {
                out.writePOJOField(field.getKey(), field.getValue());
            }
            if (!written) {
                out.writePOJOField(ADDED, more);
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
