package io.qlora.llama;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.qlora.engine.safetensors.JsonFiles;
import io.qlora.engine.safetensors.MalformedFileException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * What is beside {@code tokenizer.json}; an object without fields where there is no such file, or where it does not count.
 *
 * @param config {@code tokenizer_config.json}
 * @param map {@code special_tokens_map.json}, special tokens by name, which transformers 4 wrote
 * @param added {@code added_tokens.json}, ids of tokens, which transformers wrote before 4.34
 * @param named the class that is named
 */
record TokenizerSettings(ObjectNode config, ObjectNode map, ObjectNode added, TokenizerClass named) {

    static final String CONFIG = "tokenizer_config.json";

    /** The field of {@link #CONFIG} that has the added tokens by id; transformers 4.34 brought it. The others do not count then. */
    static final String DECODER = "added_tokens_decoder";

    static final String MAP = "special_tokens_map.json";

    private static final String ADDED = "added_tokens.json";

    static TokenizerSettings read(Path directory) throws IOException {
        ObjectNode config = optional(directory.resolve(CONFIG));
        if (config.path("split_special_tokens").asBoolean()) {
            throw new MalformedFileException(
                    directory.resolve(CONFIG),
                    "split_special_tokens should be false, since a special token that is in a text is one id here, found"
                            + " true: delete it");
        }
        boolean alone = config.has(DECODER);
        ObjectNode none = JsonNodeFactory.instance.objectNode();
        ObjectNode added = alone ? none : optional(directory.resolve(ADDED));
        for (JsonNode id : added) {
            if (!id.isInt()) {
                throw new MalformedFileException(
                        directory.resolve(ADDED), "expected ids, found " + JsonFiles.describe(id));
            }
        }
        return new TokenizerSettings(
                config,
                alone ? none : optional(directory.resolve(MAP)),
                added,
                TokenizerClass.of(config, optional(directory.resolve(ConfigReader.FILE))));
    }

    private static ObjectNode optional(Path file) throws IOException {
        return Files.exists(file) ? JsonFiles.readObject(file) : JsonNodeFactory.instance.objectNode();
    }

    /** Whether the added tokens are {@link #DECODER}'s. */
    boolean alone() {
        return config.has(DECODER);
    }
}
