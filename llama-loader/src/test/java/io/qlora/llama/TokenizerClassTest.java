package io.qlora.llama;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.OptionalInt;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** What LlamaTokenizer's class and CodeLlama's make of a file. */
class TokenizerClassTest extends TokenizerFiles {

    /** A little SentencePiece tokenizer, as a Llama 2 has it; expected ids are those of transformers 5.18. */
    private static final String PIECES = """
            {"version": "1.0", "truncation": null, "padding": null,
             "added_tokens": [
               {"id": 1, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
               {"id": 2, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
             "normalizer": {"type": "Sequence", "normalizers": [
               {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
             "pre_tokenizer": null,
             "post_processor": {"type": "TemplateProcessing",
               "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
               "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
               "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
             "decoder": {"type": "Sequence", "decoders": [
               {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
               {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
             "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
               "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
               "vocab": {"<unk>": 0, "<s>": 1, "</s>": 2, "▁": 3, "▁▁": 4, "h": 5, "i": 6, "hi": 7, "▁hi": 8},
               "merges": [["▁", "▁"], ["h", "i"], ["▁", "hi"]]}}
            """;

    private static final String LLAMA = "{'tokenizer_class': 'LlamaTokenizer'}";
    private static final String CODE_LLAMA = "{'tokenizer_class': 'CodeLlamaTokenizer'}";
    private static final String FAST = "{'tokenizer_class': 'PreTrainedTokenizerFast'}";

    /** That tokenizer, and other files beside it. */
    private Path pieces(Map<String, String> files) throws IOException {
        Path directory = with(files);
        Files.writeString(directory.resolve("tokenizer.json"), PIECES);
        return directory;
    }

    /** That tokenizer with another model, under a class. */
    private Path pieces(Consumer<ObjectNode> change, String config) throws IOException {
        ObjectNode json = (ObjectNode) new JsonMapper().readTree(PIECES);
        change.accept((ObjectNode) json.get("model"));
        Path directory = with(Map.of("tokenizer_config.json", config));
        Files.writeString(directory.resolve("tokenizer.json"), json.toString());
        return directory;
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '\0',
            value = {
                "'tokenizer_class': 'LlamaTokenizer', 'legacy': false  | 8 | 8   | 8,2,7   | 4,7",
                "'tokenizer_class': 'LlamaTokenizerFast'               | 8 | 8   | 8,2,7   | 4,7",
                "'tokenizer_class': 'LlamaTokenizer', 'legacy': null   | 8 | 8   | 8,2,7   | 4,7",
                "'tokenizer_class': 'LlamaTokenizer', 'legacy': true   | 8 | 8   | 8,2,8   | 4,7",
                "'tokenizer_class': 'LlamaTokenizer', 'add_prefix_space': false | 7 | 8 | 7,2,7 | 4,7",
                "'tokenizer_class': 'CodeLlamaTokenizer', 'legacy': true | 8 | 8 | 8,2,7   | 4,7",
                "'tokenizer_class': 'PreTrainedTokenizerFast'          | 8 | 4,7 | 8,2,8   | 4,8",
                "'legacy': false                                       | 8 | 4,7 | 8,2,8   | 4,8",
            })
    void theClassOfALlama2DecidesWhatIsPutBeforeWords(
            String settings, String word, String spaced, String ended, String twice) throws IOException {
        try (LlamaTokenizer tokenizer = load(pieces(Map.of("tokenizer_config.json", "{" + settings + "}")))) {
            assertEquals(OptionalInt.of(1), tokenizer.bosId());
            assertEquals(word, ids(tokenizer, "hi"));
            assertEquals(spaced, ids(tokenizer, " hi"));
            assertEquals(ended, ids(tokenizer, "hi</s>hi"));
            assertEquals(twice, ids(tokenizer, "  hi"));
            assertEquals("", ids(tokenizer, ""));
            assertEquals(settings.contains("add_prefix_space") ? " hi" : "hi", tokenizer.decode(8));
        }
    }

    @Test
    void theModelsConfigNamesTheClassWhereTheTokenizersDoesNot() throws IOException {
        for (String config : new String[] {"{}", "{'tokenizer_class': null}"}) {
            Path directory = pieces(Map.of("config.json", LLAMA, "tokenizer_config.json", config));
            try (LlamaTokenizer tokenizer = load(directory)) {
                assertEquals("4,7", ids(tokenizer, "  hi"));
            }
        }
        try (LlamaTokenizer tokenizer = load(pieces(Map.of("config.json", LLAMA, "tokenizer_config.json", FAST)))) {
            assertEquals("4,8", ids(tokenizer, "  hi"));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"'byte_fallback': false", "'fuse_unk': false", "'ignore_merges': true", "'dropout': 0.9"})
    void theModelIsTheClassesButForVocabularyAndMerges(String field) throws IOException {
        Consumer<ObjectNode> change = model -> {
            model.setAll(object("{" + field + "}"));
            model.withObject("vocab").put("▁hihi", 9);
        };
        try (LlamaTokenizer tokenizer = load(pieces(change, LLAMA))) {
            assertEquals("8", ids(tokenizer, "hiaa")); // no unknown token, and no bytes in this vocabulary
            assertEquals("8,7", ids(tokenizer, "hihi"));
        }
        try (LlamaTokenizer tokenizer = load(pieces(change, CODE_LLAMA))) {
            assertEquals("8,0", ids(tokenizer, "hiaa"));
            assertEquals("8,7", ids(tokenizer, "hihi"));
        }
    }

    @Test
    void dropoutIsRefusedWhereTheFileIsUsedAsItIs() throws IOException {
        assertRefused(
                pieces(model -> model.put("dropout", 0.5), FAST),
                "tokenizer.json",
                "dropout should be null",
                "found 0.5");
        load(pieces(model -> model.put("dropout", 0.0), FAST)).close();
    }

    @Test
    void aUnigramModelIsRefusedUnderAClassThatMergesPieces() throws IOException {
        Consumer<ObjectNode> unigram = model -> {
            model.removeAll();
            model.setAll(object("{'type': 'Unigram', 'unk_id': 0, 'vocab': [['<unk>', 0], ['▁hi', -1]]}"));
        };
        assertRefused(pieces(unigram, LLAMA), "tokenizer.json", "model.type should be BPE", "found Unigram");
        load(pieces(unigram, FAST)).close();
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '\0',
            value = {
                "                                                          | 9   | 10 | 3,0 | 13",
                "'prefix_token': '<P>'                                     | 14  | 10 | 9   | 13",
                "'prefix_token': '<P>', 'extra_special_tokens': ['<X>']    | 3,0 | 10 | 9   | 13",
                "'prefix_token': null                                      | 3,0 | 9  | 3,0 | 12",
            })
    void codeLlamasClassHasTokensOfItsOwn(String settings, String prefix, String middle, String other, String fill)
            throws IOException {
        String config = CODE_LLAMA.replace("}", settings == null ? "}" : "," + settings + "}");
        Path directory = pieces(Map.of("tokenizer_config.json", config));
        try (LlamaTokenizer tokenizer = loadWith(15, directory)) {
            assertEquals(prefix, ids(tokenizer, "▁<PRE>"));
            assertEquals(middle, ids(tokenizer, "▁<MID>"));
            assertEquals(other, ids(tokenizer, "<P>"));
            assertEquals(fill, ids(tokenizer, "<FILL_ME>"));
            assertEquals("hi", tokenizer.decode(9, 10, 8));
        }
    }

    @ParameterizedTest
    @CsvSource({"<s>, 1", "<B>, 9", ","})
    void codeLlamasClassPutsBosBeforeATextWhateverTheFilesTemplateSays(String bos, Integer id) throws IOException {
        String token = bos == null ? "null" : "'" + bos + "'";
        String config = CODE_LLAMA.replace("}", ", 'bos_token': " + token + "}");
        Path directory = pieces(Map.of("tokenizer_config.json", config));
        Files.writeString(directory.resolve("tokenizer.json"), PIECES.replace("\"ids\": [1]", "\"ids\": [2]"));
        try (LlamaTokenizer tokenizer = loadWith(15, directory)) {
            assertEquals(id == null ? OptionalInt.empty() : OptionalInt.of(id), tokenizer.bosId());
        }
    }

    @Test
    void theClassesEosEndsADocumentWhereNoFileNamesOne() throws IOException {
        try (LlamaTokenizer tokenizer = load(pieces(Map.of("tokenizer_config.json", LLAMA)))) {
            assertEquals(OptionalInt.of(2), tokenizer.eosId());
        }
        String none = LLAMA.replace("}", ", 'eos_token': null}");
        try (LlamaTokenizer tokenizer = load(pieces(Map.of("tokenizer_config.json", none)))) {
            assertEquals(OptionalInt.empty(), tokenizer.eosId());
        }
        try (LlamaTokenizer tokenizer = load(pieces(Map.of("tokenizer_config.json", FAST)))) {
            assertEquals(OptionalInt.of(6), tokenizer.eosId());
        }
    }

    @Test
    void theClassAddsTheFilesTokensById() throws IOException {
        String added = "\"added_tokens\": [{\"id\": 10, \"content\": \"<k>\", \"special\": true},"
                + " {\"id\": 9, \"content\": \"<j>\", \"special\": true},";
        Path directory = pieces(Map.of("tokenizer_config.json", LLAMA));
        Files.writeString(directory.resolve("tokenizer.json"), PIECES.replace("\"added_tokens\": [", added));
        try (LlamaTokenizer tokenizer = load(directory)) {
            assertEquals("10,9", ids(tokenizer, "<k><j>"));
        }
    }

    private static ObjectNode object(String json) {
        try {
            return (ObjectNode) new JsonMapper().readTree(json.replace('\'', '"'));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
