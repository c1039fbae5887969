package io.qlora.llama;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import io.qlora.engine.files.FileErrors;
import io.qlora.engine.safetensors.GitLfs;
import io.qlora.engine.safetensors.JsonFiles;
import io.qlora.engine.safetensors.MalformedFileException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;

/**
 * What {@code tokenizer.json} says about ids, which its library does not tell: the vocabulary's largest, and those of a few
 * tokens. Read as a stream, since the file has hundreds of thousands of entries.
 *
 * @param size the largest id plus one, but for tokens that are added to the vocabulary
 * @param largest the token that has it
 * @param ids of the tokens that were asked for, as far as there are any
 */
record TokenizerVocabulary(int size, String largest, Map<String, Integer> ids) {

    /** Reads a tokenizer, looking for {@code wanted} tokens. */
    static TokenizerVocabulary read(TokenizerJson json, Set<String> wanted) throws IOException {
        Path file = json.file();
        FileErrors.requireFile(file);
        GitLfs.requireContent(file);
        try (InputStream stream = json.open();
                JsonParser parser = new JsonFactory().createParser(stream)) {
            Scan scan = new Scan(file, parser, wanted);
            scan.file();
            return new TokenizerVocabulary(scan.largest + 1, scan.largestToken, scan.ids);
        } catch (JsonProcessingException e) {
            throw new MalformedFileException(
                    file,
                    "expected JSON: " + JsonFiles.reason(e) + " at line "
                            + e.getLocation().getLineNr() + ", column "
                            + e.getLocation().getColumnNr(),
                    e);
        } catch (MalformedFileException e) {
            throw e;
        } catch (IOException e) {
            throw FileErrors.reading(file, e);
        }
    }

    private static final class Scan {
        private final Path file;
        private final JsonParser parser;
        private final Set<String> wanted;
        private final Map<String, Integer> ids = new HashMap<>();
        private int largest = -1;
        private String largestToken = "";

        Scan(Path file, JsonParser parser, Set<String> wanted) {
            this.file = file;
            this.parser = parser;
            this.wanted = wanted;
        }

        void file() throws IOException {
            require(parser.nextToken() == JsonToken.START_OBJECT, "an object");
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                String name = parser.currentName();
                JsonToken value = parser.nextToken();
                if (name.equals("added_tokens") && value == JsonToken.START_ARRAY) {
                    addedTokens();
                } else if (name.equals("model") && value == JsonToken.START_OBJECT) {
                    model();
                } else {
                    parser.skipChildren();
                }
            }
            require(largest >= 0, "a tokenizer with a vocabulary");
        }

        private void addedTokens() throws IOException {
            while (parser.nextToken() == JsonToken.START_OBJECT) {
                String content = "";
                int id = -1;
                while (parser.nextToken() == JsonToken.FIELD_NAME) {
                    String name = parser.currentName();
                    parser.nextToken();
                    switch (name) {
                        case "content" -> content = parser.getText();
                        case "id" -> id = id();
                        default -> parser.skipChildren();
                    }
                }
                // Not the vocabulary's: one that is added beyond the model's rows is no harm until it is used.
                if (wanted.contains(content)) {
                    ids.put(content, id);
                }
            }
        }

        private void model() throws IOException {
            while (parser.nextToken() == JsonToken.FIELD_NAME) {
                boolean vocabulary = parser.currentName().equals("vocab");
                JsonToken value = parser.nextToken();
                if (vocabulary && value == JsonToken.START_OBJECT) {
                    while (parser.nextToken() == JsonToken.FIELD_NAME) {
                        String token = parser.currentName();
                        parser.nextToken();
                        add(token, id());
                    }
                } else if (vocabulary && value == JsonToken.START_ARRAY) {
                    pieces();
                } else {
                    parser.skipChildren();
                }
            }
        }

        // A unigram model: a list of [piece, score], the place is the id.
        private void pieces() throws IOException {
            for (int id = 0; parser.nextToken() == JsonToken.START_ARRAY; id++) {
                require(parser.nextToken() == JsonToken.VALUE_STRING, "a piece");
                add(parser.getText(), id);
                while (parser.nextToken() != JsonToken.END_ARRAY) {
                    parser.skipChildren();
                }
            }
        }

        private int id() throws IOException {
            require(parser.currentToken() == JsonToken.VALUE_NUMBER_INT, "an id");
            int id = parser.getIntValue();
            require(id >= 0 && id < Integer.MAX_VALUE, "an id");
            return id;
        }

        private void add(String token, int id) {
            if (id > largest) {
                largest = id;
                largestToken = token;
            }
            if (wanted.contains(token)) {
                ids.put(token, id);
            }
        }

        private void require(boolean condition, String expected) throws IOException {
            if (!condition) {
                throw new MalformedFileException(
                        file,
                        "expected " + expected + " at line "
                                + parser.currentLocation().getLineNr() + ", found " + parser.currentToken());
            }
        }
    }
}
