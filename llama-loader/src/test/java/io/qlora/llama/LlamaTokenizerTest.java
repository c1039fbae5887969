package io.qlora.llama;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.qlora.engine.safetensors.MalformedFileException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class LlamaTokenizerTest extends TokenizerFiles {

    private static LlamaTokenizer tiny() throws IOException {
        return LlamaTokenizer.load(Golden.TINY.model(), LlamaConfig.read(Golden.TINY.model()));
    }

    @Test
    void addsNoTokensThatBeginOrEndADocument() throws IOException {
        try (LlamaTokenizer tokenizer = tiny()) {
            int[] ids = tokenizer.encode("lamp");
            assertFalse(Arrays.stream(ids).anyMatch(id -> id == 0 || id == 1));
            assertEquals("lamp", tokenizer.decode(ids));
            assertEquals(0, tokenizer.encode("").length);
            assertEquals("", tokenizer.decode());
        }
    }

    @Test
    void textsOfAnyLengthAreEncodedWhole() throws IOException {
        String text = "In the attic stands a green ladder. ".repeat(500);
        try (LlamaTokenizer tokenizer = tiny()) {
            assertEquals(text, tokenizer.decode(tokenizer.encode(text)));
        }
    }

    @Test
    void specialTokensInATextAreTheirIdsAndDecodeToNothing() throws IOException {
        try (LlamaTokenizer tokenizer = tiny()) {
            assertArrayEquals(new int[] {0}, tokenizer.encode(BEGIN));
            int[] ids = tokenizer.encode("lamp" + END);
            assertEquals(1, ids[ids.length - 1]);
            assertEquals("lamp", tokenizer.decode(ids));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"🦙a\uD83D b", "🦙a\uDD99\uD83D", "🦙a\uD83D"})
    void halfOfACharacterIsRefused(String text) throws IOException {
        try (LlamaTokenizer tokenizer = tiny()) {
            IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> tokenizer.encode(text));
            assertTrue(e.getMessage().startsWith("the text has half of a character at index 3, the surrogate U+D"));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"plain words", "héllo wörld", "日本語 🦙 llama", "👩‍👩‍👧 family", " leading and trailing "})
    void aStreamGivesTheTextInWholeCharacters(String text) throws IOException {
        try (LlamaTokenizer tokenizer = tiny()) {
            TextStream stream = tokenizer.stream();
            StringBuilder streamed = new StringBuilder();
            for (int id : tokenizer.encode(text)) {
                String added = stream.add(id);
                assertFalse(added.contains("\uFFFD"), added);
                streamed.append(added);
            }
            assertEquals(text, streamed.toString());
            assertEquals("", stream.rest());
        }
    }

    @Test
    void aStreamGoesOnFromItsContext() throws IOException {
        try (LlamaTokenizer tokenizer = tiny()) {
            int[] ids = tokenizer.encode("the green lamp 🦙");
            int before = ids.length / 2;
            TextStream stream = tokenizer.stream(Arrays.copyOf(ids, before));
            StringBuilder text = new StringBuilder(tokenizer.decode(Arrays.copyOf(ids, before)));
            for (int i = before; i < ids.length; i++) {
                text.append(stream.add(ids[i]));
            }
            assertEquals("the green lamp 🦙", text.toString());
        }
    }

    @Test
    void whatIsIncompleteAtTheEndIsTheRest() throws IOException {
        try (LlamaTokenizer tokenizer = tiny()) {
            int[] ids = tokenizer.encode("🦙");
            TextStream stream = tokenizer.stream();
            for (int i = 0; i + 1 < ids.length; i++) {
                assertEquals("", stream.add(ids[i]));
            }
            assertTrue(stream.rest().startsWith("\uFFFD"));
        }
    }

    @Test
    void theTokenizersOwnFilesSayWhatBeginsAndEndsADocument() throws IOException {
        List<Map<String, String>> spellings = List.of(
                Map.of("tokenizer_config.json", "{'bos_token': '" + BEGIN + "', 'eos_token': '" + END + "'}"),
                Map.of(
                        "tokenizer_config.json",
                        "{'bos_token': {'content': '" + BEGIN + "'}, 'eos_token': {'content': '" + END + "'}}"),
                Map.of("special_tokens_map.json", "{'bos_token': '" + BEGIN + "', 'eos_token': '" + END + "'}"),
                Map.of(
                        "tokenizer_config.json",
                        "{'bos_token': '" + BEGIN + "'}",
                        "special_tokens_map.json",
                        "{'eos_token': '" + END + "'}"));
        for (Map<String, String> files : spellings) {
            try (LlamaTokenizer tokenizer = load(with(files))) {
                assertEquals(OptionalInt.of(0), tokenizer.bosId(), files.toString());
                assertEquals(OptionalInt.of(1), tokenizer.eosId(), files.toString());
            }
        }
    }

    // Both files were tried in transformers 5.18, which gives the same ids.
    @Test
    void whereTheyDifferTheMapCountsUnlessTheConfigHasTheAddedTokens() throws IOException {
        String map = "{'eos_token': '" + END + "'}";
        Path older =
                with(Map.of("tokenizer_config.json", "{'eos_token': '" + BEGIN + "'}", "special_tokens_map.json", map));
        try (LlamaTokenizer tokenizer = load(older)) {
            assertEquals(OptionalInt.of(1), tokenizer.eosId());
        }
        Path newer = with(Map.of(
                "tokenizer_config.json",
                "{'eos_token': '" + BEGIN + "', 'added_tokens_decoder': {'0': {'content': '" + BEGIN
                        + "', 'special': true}}}",
                "special_tokens_map.json",
                map));
        try (LlamaTokenizer tokenizer = load(newer)) {
            assertEquals(OptionalInt.of(0), tokenizer.eosId());
        }
    }

    @Test
    void whereTheyDoNotTheConfigSaysWhatEndsADocument() throws IOException {
        try (LlamaTokenizer tokenizer = load(with(Map.of("tokenizer_config.json", "{}")))) {
            assertEquals(OptionalInt.of(6), tokenizer.eosId());
        }
    }

    // transformers 5 goes by the template, too: neither bos_token nor add_bos_token nor the model's config matters.
    @Test
    void nothingBeginsADocumentThatTheTemplateDoesNotPutThere() throws IOException {
        String config = "{'bos_token': '" + BEGIN + "', 'eos_token': '" + END + "', 'add_bos_token': true}";
        Path without = withTokenizer(json -> json.putNull("post_processor"), config);
        try (LlamaTokenizer tokenizer = load(without)) {
            assertEquals(OptionalInt.empty(), tokenizer.bosId());
            assertEquals(OptionalInt.of(1), tokenizer.eosId());
        }
        Path other = withTokenizer(
                json -> ((ObjectNode) json.at("/post_processor/special_tokens/" + BEGIN))
                        .putArray("ids")
                        .add(3),
                config.replace("true", "false"));
        try (LlamaTokenizer tokenizer = load(other)) {
            assertEquals(OptionalInt.of(3), tokenizer.bosId());
        }
    }

    @Test
    void aTemplateThatPutsMoreThanOneTokenBeforeATextIsRefused() throws IOException {
        Path directory = withTokenizer(
                json -> {
                    ArrayNode single = (ArrayNode) json.at("/post_processor/single");
                    single.insert(0, single.get(0).deepCopy());
                },
                "{}");
        assertRefused(directory, "tokenizer.json", "at most one token before a text, found 2");
    }

    @Test
    void aTemplateWithATokenThatTheModelHasNotIsRefused() throws IOException {
        Path directory = withTokenizer(
                json -> ((ObjectNode) json.at("/post_processor/special_tokens/" + BEGIN))
                        .putArray("ids")
                        .add(384),
                "{}");
        assertRefused(directory, "tokenizer.json", "an id below 384 (vocab_size), found 384");
    }

    // The library would end the program.
    @Test
    void aTemplateWithATokenThatHasNoIdIsRefused() throws IOException {
        Path directory =
                withTokenizer(json -> ((ObjectNode) json.at("/post_processor/special_tokens")).removeAll(), "{}");
        assertRefused(directory, "tokenizer.json", "post_processor should have the ids", "none for \"" + BEGIN);
    }

    @Test
    void anIdOfTheConfigThatIsNotInTheVocabularyIsRefused() throws IOException {
        LlamaConfig config =
                Models.small().vocabSize(384).eosTokenIds(List.of(384)).build();
        Path directory = with(Map.of());
        MalformedFileException e = assertThrows(
                MalformedFileException.class,
                () -> LlamaTokenizer.load(directory, config).close());
        assertTrue(e.getMessage().contains("eos_token_id should be an id below vocab_size, 384"), e.getMessage());
    }

    @Test
    void aTokenThatIsNullThereIsNone() throws IOException {
        Path directory = with(Map.of("tokenizer_config.json", "{'eos_token': null}"));
        try (LlamaTokenizer tokenizer = load(directory)) {
            assertEquals(OptionalInt.empty(), tokenizer.eosId());
        }
    }

    @Test
    void generationStopsAtTheIdsOfItsConfigOrTheModelsAndAtTheTokenizers() throws IOException {
        String eos = "{'eos_token': '" + END + "'}";
        try (LlamaTokenizer tokenizer = load(with(Map.of("tokenizer_config.json", eos)))) {
            assertEquals(Set.of(1, 6, 7), tokenizer.stopIds());
        }
        Path directory =
                with(Map.of("tokenizer_config.json", eos, "generation_config.json", "{'eos_token_id': [9, 10]}"));
        try (LlamaTokenizer tokenizer = load(directory)) {
            assertEquals(Set.of(1, 9, 10), tokenizer.stopIds());
        }
    }

    @Test
    void aTokenizerLargerThanTheEmbeddingIsRefused() {
        LlamaConfig config = Models.small().vocabSize(300).build();
        MalformedFileException e = assertThrows(
                MalformedFileException.class,
                () -> LlamaTokenizer.load(Golden.TINY.model(), config).close());
        assertTrue(e.getMessage().contains("tokenizer.json"), e.getMessage());
        assertTrue(e.getMessage().contains("300 rows (vocab_size), found 383"), e.getMessage());
    }

    @Test
    void filesThatAreNoTokenizerAreNamed() throws IOException {
        Path missing = with(Map.of());
        Files.delete(missing.resolve("tokenizer.json"));
        assertRefused(missing, "tokenizer.json", "no such file: get it from where the model is from");
        Files.createFile(missing.resolve("tokenizer.model"));
        assertRefused(missing, "tokenizer.json", "found tokenizer.model alone", "save_pretrained(\"" + missing + "\")");
        assertRefused(with(Map.of("tokenizer.json", "{'model': ")), "tokenizer.json", "JSON", "line 1");
        assertRefused(with(Map.of("tokenizer.json", "[]")), "tokenizer.json", "expected an object");
        assertRefused(with(Map.of("tokenizer.json", "{}")), "tokenizer.json", "a vocabulary");
        assertRefused(
                with(Map.of("tokenizer.json", "{'model': {'vocab': {'a': 'b'}}}")), "tokenizer.json", "expected an id");
        assertRefused(
                with(Map.of("tokenizer.json", "{'model': {'type': 'Unheard', 'vocab': {'a': 0}}}")),
                "tokenizer.json",
                "cannot be used");
        assertRefused(with(Map.of("tokenizer_config.json", "{'eos_token': 7}")), "tokenizer_config.json", "eos_token");
        assertRefused(
                with(Map.of("tokenizer_config.json", "{'eos_token': '<eos>'}")), "tokenizer_config.json", "<eos>");
    }

    @Test
    void vocabulariesAreCountedInEveryForm() throws IOException {
        Path file = temporary.resolve("tokenizer.json");
        Set<String> wanted = Set.of("b", "<s>");
        Files.writeString(file, """
                {"added_tokens": [{"id": 9, "content": "<s>", "special": true}], "decoder": {"vocab": {"x": 99}},
                 "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": [["a", "b"]]}}""");
        assertEquals(
                new TokenizerVocabulary(2, "b", Map.of("<s>", 9, "b", 1)),
                TokenizerVocabulary.read(TokenizerJson.asIs(file), wanted));
        Files.writeString(file, """
                {"model": {"type": "Unigram", "vocab": [["a", -1.5], ["b", -2], ["c", 0]]}}""");
        assertEquals(
                new TokenizerVocabulary(3, "c", Map.of("b", 1)),
                TokenizerVocabulary.read(TokenizerJson.asIs(file), wanted));
    }
}
