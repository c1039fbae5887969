package io.qlora.llama;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import org.junit.jupiter.api.io.TempDir;

/** What tests of tokenizers share: the tiny model's, with other files beside it. */
abstract class TokenizerFiles {

    static final String BEGIN = "<|begin_of_text|>";
    static final String END = "<|end_of_text|>";

    @TempDir
    Path temporary;

    /** A copy of tiny's tokenizer whose other files are these, by name; single quotes stand for double ones. */
    Path with(Map<String, String> files) throws IOException {
        Path directory = Files.createTempDirectory(temporary, "model");
        Files.copy(Golden.TINY.model().resolve("tokenizer.json"), directory.resolve("tokenizer.json"));
        for (Map.Entry<String, String> file : files.entrySet()) {
            Files.writeString(directory.resolve(file.getKey()), file.getValue().replace('\'', '"'));
        }
        return directory;
    }

    /** As of a model of 384 rows, whose own config names other tokens than the tokenizer. */
    static LlamaTokenizer load(Path directory) throws IOException {
        LlamaConfig config = Models.small()
                .vocabSize(384)
                .bosTokenId(OptionalInt.of(5))
                .eosTokenIds(List.of(6, 7))
                .build();
        return LlamaTokenizer.load(directory, config);
    }

    static void assertRefused(Path directory, String... words) {
        IOException e = assertThrows(IOException.class, () -> load(directory).close());
        for (String word : words) {
            assertTrue(e.getMessage().contains(word), e.getMessage() + " should contain " + word);
        }
    }

    /** The same, whose tokenizer.json is changed, too. */
    Path withTokenizer(Consumer<ObjectNode> change, String config) throws IOException {
        Path directory = with(Map.of("tokenizer_config.json", config));
        Path file = directory.resolve("tokenizer.json");
        ObjectNode json = (ObjectNode) new JsonMapper().readTree(file.toFile());
        change.accept(json);
        Files.writeString(file, json.toString());
        return directory;
    }

    /** As of a model of so many rows. */
    static LlamaTokenizer loadWith(int rows, Path directory) throws IOException {
        return LlamaTokenizer.load(directory, Models.small().vocabSize(rows).build());
    }

    static String ids(LlamaTokenizer tokenizer, String text) {
        return Arrays.stream(tokenizer.encode(text)).mapToObj(Integer::toString).collect(Collectors.joining(","));
    }
}
