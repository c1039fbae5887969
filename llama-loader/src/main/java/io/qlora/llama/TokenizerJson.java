package io.qlora.llama;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * {@code tokenizer.json} as transformers 5 uses it, which is not always as it is written:
 *
 * <ul>
 *   <li>Where {@code tokenizer_config.json}, or else {@code config.json}, names the class {@code LlamaTokenizer} or
 *       CodeLlama's, vocabulary, merges and template are the file's, the rest is the class's: the file of a Llama 2 puts ▁
 *       before every stretch of text between two special tokens, the class before the first alone ({@code legacy} false) and
 *       never a second one before a space.
 *   <li>Tokens are added, or changed, as {@link AddedTokens} says.
 * </ul>
 *
 * What needs neither is passed on as it is. In two cases that is not what transformers 5 does, which makes anew what it
 * should not and gets other ids than the model was trained with: under {@code LlamaTokenizer}, a file without ▁ in any piece,
 * which the class cannot read; and a file under some other class, such as {@code GPT2Tokenizer}.
 */
final class TokenizerJson {

    /** SentencePiece's own file, which Llama 2 has beside. */
    private static final String PIECES = "tokenizer.model";

    private static final JsonMapper MAPPER = new JsonMapper();
    static final String ADDED = "added_tokens";
    static final String TEMPLATE = "post_processor";
    static final String MODEL = "model";

    private final Path file;
    private final byte[] rewritten; // null where the file is used as it is
    private final Map<String, String> unsaid; // the class's tokens that the vocabulary has, by name

    private TokenizerJson(Path file, byte[] rewritten, Map<String, String> unsaid) {
        this.file = file;
        this.rewritten = rewritten;
        this.unsaid = unsaid;
    }

    /** The file as it is. */
    static TokenizerJson asIs(Path file) {
        return new TokenizerJson(file, null, Map.of());
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
        TokenizerSettings settings = TokenizerSettings.read(directory);
        TokenizerClass named = settings.named();
        try {
            TokenizerSurvey survey = TokenizerSurvey.of(
                    file,
                    AddedTokens.of(List.of(), settings, NamedTokens.of(settings, named), named)
                            .contents());
            TokenizerClass used = survey.spaces() ? named : TokenizerClass.PLAIN;
            survey.requireUsable(file, used);
            NamedTokens names = NamedTokens.of(settings, used);
            AddedTokens added = AddedTokens.of(survey.added(), settings, names, used);
            added.requireApart(file);
            ArrayNode tokens = added.toJson(survey.pieces(), survey.size());
            ObjectNode replaced = used.made(settings.config());
            if (used == TokenizerClass.CODE_LLAMA) {
                replaced.set(TEMPLATE, TokenizerClass.template(names.bos(), added.id(names.bos())));
            }
            if (!tokens.equals(MAPPER.createArrayNode().addAll(survey.added()))) {
                replaced.set(ADDED, tokens);
            }
            Map<String, String> unsaid = new HashMap<>(used.tokens());
            unsaid.values().retainAll(survey.pieces().keySet());
            return replaced.isEmpty() ? asIs(file) : new TokenizerJson(file, write(file, replaced), unsaid);
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

    private static byte[] write(Path file, ObjectNode replaced) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream(Math.toIntExact(Files.size(file)));
        try (JsonParser parser = MAPPER.createParser(file.toFile());
                JsonGenerator out = new JsonFactory().setCodec(MAPPER).createGenerator(bytes)) {
            parser.nextToken();
            out.writeStartObject();
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String name = parser.currentName();
                parser.nextToken();
                if (name.equals(MODEL) && replaced.has(MODEL)) {
                    out.writeFieldName(name);
                    copyModel(parser, replaced.get(MODEL), out);
                } else if (replaced.has(name)) {
                    parser.skipChildren();
                } else {
                    out.writeFieldName(name);
                    out.copyCurrentStructure(parser);
                }
            }
            for (Map.Entry<String, JsonNode> field : replaced.properties()) {
                if (!field.getKey().equals(MODEL)) {
                    out.writePOJOField(field.getKey(), field.getValue());
                }
            }
            out.writeEndObject();
        }
        return bytes.toByteArray();
    }

    // Field by field: the vocabulary is too large for a tree.
    private static void copyModel(JsonParser parser, JsonNode replaced, JsonGenerator out) throws IOException {
        out.writeStartObject();
        for (Map.Entry<String, JsonNode> field : replaced.properties()) {
            out.writePOJOField(field.getKey(), field.getValue());
        }
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
        out.writeEndObject();
    }

    Path file() {
        return file;
    }

    /** A special token that is meant where no file names one, as {@code eos_token}. */
    Optional<String> unsaid(String name) {
        return Optional.ofNullable(unsaid.get(name));
    }

    /** What is to be read. */
    InputStream open() throws IOException {
        return rewritten == null ? Files.newInputStream(file) : new ByteArrayInputStream(rewritten);
    }
}
