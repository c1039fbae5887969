package io.qlora.engine.safetensors;

import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.core.util.Separators;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectWriter;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.qlora.engine.files.AtomicFiles;
import io.qlora.engine.files.FileErrors;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Pattern;

/** JSON objects in files, read strictly (UTF-8, no name twice, nothing behind) and written as Python's {@code json} does. */
public final class JsonFiles {

    private static final long MAX_BYTES = 100_000_000;
    private static final int LONGEST = 80; // of a value in an error message

    /** Where in the source something began, and what could be allowed by a setting. */
    private static final Pattern REMARKS = Pattern.compile(" ?\\(start marker at \\[Source: [^\\]]*\\]\\)"
            + "|: enable `[^`]*` to allow|, from `StreamReadConstraints[^`]*`");

    private static final JsonMapper MAPPER = JsonMapper.builder()
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .build();

    private static final ObjectWriter PRETTY = MAPPER.writer(printer());

    private JsonFiles() {}

    // json.dumps(…, indent=2)
    private static DefaultPrettyPrinter printer() {
        Separators separators = Separators.createDefaultInstance()
                .withObjectFieldValueSpacing(Separators.Spacing.AFTER)
                .withObjectEmptySeparator("")
                .withArrayEmptySeparator("");
        DefaultIndenter indenter = new DefaultIndenter("  ", "\n");
        return new DefaultPrettyPrinter(separators).withObjectIndenter(indenter).withArrayIndenter(indenter);
    }

    /**
     * The object in {@code file}.
     *
     * @throws MalformedFileException if it holds anything else
     * @throws IOException in a sentence that names the file, if it cannot be read
     */
    public static ObjectNode readObject(Path file) throws IOException {
        FileErrors.requireFile(file);
        byte[] bytes;
        try {
            if (Files.size(file) > MAX_BYTES) {
                throw new MalformedFileException(
                        file, "expected a JSON file of at most " + MAX_BYTES + " bytes, found " + Files.size(file));
            }
            bytes = Files.readAllBytes(file);
        } catch (MalformedFileException e) {
            throw e;
        } catch (IOException e) {
            throw FileErrors.reading(file, e);
        }
        return parseObject(file, "the file", bytes);
    }

    /** The object in {@code utf8}, which is {@code what} of {@code file}. */
    public static ObjectNode parseObject(Path file, String what, byte[] utf8) throws IOException {
        try (JsonParser parser = MAPPER.createParser(decode(utf8))) {
            JsonNode node = MAPPER.readTree(parser);
            if (parser.nextToken() != null) {
                throw new MalformedFileException(
                        file, what + " should end with its object, found more" + at(parser.currentTokenLocation()));
            }
            if (node instanceof ObjectNode object) {
                return object;
            }
            throw new MalformedFileException(file, what + " should be a JSON object, found " + describe(node));
        } catch (CharacterCodingException e) {
            throw new MalformedFileException(
                    file, what + " should be JSON in UTF-8, found bytes that are not UTF-8", e);
        } catch (JsonProcessingException e) {
            throw new MalformedFileException(file, what + " should be JSON: " + reason(e) + at(e.getLocation()), e);
        }
    }

    // To text first: given bytes, the parser would guess the encoding.
    private static String decode(byte[] utf8) throws CharacterCodingException {
        return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(utf8)).toString();
    }

    private static String at(JsonLocation location) {
        return location == null ? "" : " at line " + location.getLineNr() + ", column " + location.getColumnNr();
    }

    /** What is wrong with text that should be JSON, without the parser's remarks about itself. */
    public static String reason(JsonProcessingException e) {
        return REMARKS.matcher(e.getOriginalMessage()).replaceAll("");
    }

    /** A value as in error messages: shortened, and {@code nothing} for one that is missing. */
    public static String describe(JsonNode node) {
        if (node == null || node.isMissingNode()) {
            return "nothing";
        }
        String text = node.toString();
        return text.length() <= LONGEST ? text : text.substring(0, LONGEST) + "…";
    }

    /** Writes {@code object}, indented by two, with {@link AtomicFiles}. */
    public static void write(Path file, JsonNode object) throws IOException {
        AtomicFiles.write(file, PRETTY.writeValueAsString(object) + "\n");
    }
}
