package io.qlora.trainer.data;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonLocation;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.qlora.engine.safetensors.JsonFiles;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.Reader;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * Reads a data file: JSONL (one object a line), a JSON array of objects, or plain text ({@code .txt}, one document, whose lines end in a line feed).
 * Records are recognised by their fields:
 *
 * <ul>
 *   <li>{@code {"text"}}: running text
 *   <li>{@code {"prompt", "completion"}}
 *   <li>{@code {"instruction", "input"?, "output"}}: becomes the prompt {@code ### Instruction:\n…\n\n}, with an input
 *       {@code ### Input:\n…\n\n}, and {@code ### Response:\n}; one with a {@code system} or {@code history} is refused,
 *       since that prompt has no place for it
 * </ul>
 *
 * Other fields are left alone.
 */
public final class DataFile {

    /** A text may be as long as Java has strings: it is cut when it has become tokens. */
    private static final JsonMapper MAPPER = JsonMapper.builder(JsonFactory.builder()
                    .streamReadConstraints(StreamReadConstraints.builder()
                            .maxStringLength(Integer.MAX_VALUE)
                            .build())
                    .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                    .build())
            .build();

    private static final String FORMATS =
            "{\"text\"}, {\"prompt\", \"completion\"} or {\"instruction\", \"input\", \"output\"}";

    private DataFile() {}

    /** Is given one record after the other. */
    @FunctionalInterface
    public interface Visitor {
        void row(Row row) throws IOException;
    }

    /**
     * Reads the records of a file, in its order; they need not be in memory together.
     *
     * @throws DataException if it is missing, not UTF-8, not JSON, or a record is of no known form
     */
    public static void visit(Path file, Visitor visitor) throws IOException {
        if (!Files.exists(file)) {
            throw new DataException(file + ": no such file");
        }
        if (!Files.isRegularFile(file) || !Files.isReadable(file)) {
            throw new DataException(file + ": not a readable file");
        }
        Optional<String> other = OtherFormats.of(file);
        if (other.isPresent()) {
            throw new DataException(file + ": " + other.get());
        }
        try {
            if (isPlain(file)) {
                plain(file, visitor);
            } else if (startsWithBracket(file)) {
                array(file, visitor);
            } else {
                lines(file, visitor);
            }
        } catch (CharacterCodingException e) {
            throw new DataException(file + ": not UTF-8 text: save it as UTF-8");
        }
    }

    /** Whether a file is one text, by its name. */
    static boolean isPlain(Path file) {
        return file.getFileName().toString().toLowerCase(Locale.ROOT).endsWith(".txt");
    }

    // Line ends of any kind are one character, as for whoever opens a file as text in Python.
    private static void plain(Path file, Visitor visitor) throws IOException {
        String text = withoutMark(Files.readString(file)).replace("\r\n", "\n").replace('\r', '\n');
        if (!text.isBlank()) {
            visitor.row(new Row(file, 1, new Row.Text(text)));
        }
    }

    private static boolean startsWithBracket(Path file) throws IOException {
        try (BufferedReader reader = Files.newBufferedReader(file)) {
            int c = reader.read();
            while (c == '\uFEFF' || Character.isWhitespace(c)) {
                c = reader.read();
            }
            return c == '[';
        }
    }

    private static String withoutMark(String text) {
        return text.startsWith("\uFEFF") ? text.substring(1) : text;
    }

    /** The rest of {@code reader} behind a byte order mark, if it begins with one. */
    private static Reader afterMark(BufferedReader reader) throws IOException {
        reader.mark(1);
        if (reader.read() != '\uFEFF') {
            reader.reset();
        }
        return reader;
    }

    private static void lines(Path file, Visitor visitor) throws IOException {
        try (BufferedReader reader = Files.newBufferedReader(file, StandardCharsets.UTF_8)) {
            int number = 0;
            for (String line = reader.readLine(); line != null; line = reader.readLine()) {
                number++;
                String json = number == 1 ? withoutMark(line) : line;
                if (!json.isBlank()) {
                    visitor.row(new Row(file, number, content(parse(json, file, number), file, number)));
                }
            }
        }
    }

    private static JsonNode parse(String json, Path file, int line) throws IOException {
        try (JsonParser parser = MAPPER.createParser(json)) {
            JsonNode node = MAPPER.readTree(parser);
            if (parser.nextToken() != null) {
                throw new DataException(file + ", line " + line + ": more than one JSON value on a line");
            }
            return node;
        } catch (JsonProcessingException e) {
            throw new DataException(file + ", line " + line + ": not valid JSON: " + JsonFiles.reason(e)
                    + "; expected one whole object on each line, or an array of objects in brackets");
        }
    }

    private static void array(Path file, Visitor visitor) throws IOException {
        try (BufferedReader reader = Files.newBufferedReader(file);
                JsonParser parser = MAPPER.createParser(afterMark(reader))) {
            parser.nextToken();
            while (parser.nextToken() != JsonToken.END_ARRAY) {
                JsonLocation at = parser.currentTokenLocation();
                JsonNode node = MAPPER.readTree(parser);
                if (node == null) {
                    throw new DataException(file + ": the JSON array is not closed");
                }
                visitor.row(new Row(file, at.getLineNr(), content(node, file, at.getLineNr())));
            }
            if (parser.nextToken() != null) {
                throw new DataException(file + ": something follows the JSON array");
            }
        } catch (JsonProcessingException e) {
            int line = e.getLocation() == null ? 1 : e.getLocation().getLineNr();
            throw new DataException(file + ", line " + line + ": not valid JSON: " + JsonFiles.reason(e));
        }
    }

    private static Row.Content content(JsonNode node, Path file, int line) throws DataException {
        String where = file + ", line " + line;
        if (!node.isObject()) {
            throw new DataException(where + ": expected an object " + FORMATS + ", found " + JsonFiles.describe(node));
        }
        if (node.has("messages") || node.has("conversations")) {
            throw new DataException(where + ": chat records (\"messages\", \"conversations\") are not supported yet;"
                    + " turn them into " + FORMATS);
        }
        if (node.has("prompt") && node.has("completion")) {
            return new Row.Completion(string(node, "prompt", where), string(node, "completion", where));
        }
        if (node.has("instruction") && node.has("output")) {
            requireAlone(node, where);
            String input = node.hasNonNull("input") ? string(node, "input", where) : "";
            String prompt = instruction(string(node, "instruction", where), input);
            return new Row.Completion(prompt, string(node, "output", where));
        }
        if (node.has("text")) {
            return new Row.Text(string(node, "text", where));
        }
        List<String> names = new ArrayList<>();
        node.fieldNames().forEachRemaining(names::add);
        throw new DataException(where + ": expected " + FORMATS + ", found the fields " + names);
    }

    // An answer that was given with them is not to be learnt as one that was given without.
    private static void requireAlone(JsonNode node, String where) throws DataException {
        for (String field : new String[] {"system", "history"}) {
            JsonNode value = node.path(field);
            if (value.isTextual() ? !value.textValue().isBlank() : !value.isEmpty()) {
                throw new DataException(
                        where + ": \"" + field + "\" is not supported, found " + JsonFiles.describe(value)
                                + ": write the whole prompt as {\"prompt\", \"completion\"}, or delete it");
            }
        }
    }

    /** The prompt that an instruction becomes; {@code input} may be empty. */
    public static String instruction(String instruction, String input) {
        return "### Instruction:\n" + instruction + "\n\n" + (input.isEmpty() ? "" : "### Input:\n" + input + "\n\n")
                + "### Response:\n";
    }

    private static String string(JsonNode node, String field, String where) throws DataException {
        JsonNode value = node.get(field);
        if (!value.isTextual()) {
            throw new DataException(
                    where + ": \"" + field + "\" should be a string, found " + JsonFiles.describe(value));
        }
        return value.textValue();
    }
}
