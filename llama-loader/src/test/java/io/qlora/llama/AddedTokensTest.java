package io.qlora.llama;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Tokens that a tokenizer's files add to its vocabulary. */
class AddedTokensTest extends TokenizerFiles {

    @Test
    void tokensThatOnlyTheTokenizersConfigHasAreAdded() throws IOException {
        Path directory = with(Map.of(
                "tokenizer_config.json",
                "{'eos_token': '<|im_end|>', 'added_tokens_decoder': {"
                        + "'0': {'content': '" + BEGIN + "', 'special': true},"
                        + "'384': {'content': '<|im_end|>', 'special': true}}}"));
        LlamaConfig config = Models.small().vocabSize(385).build();
        try (LlamaTokenizer tokenizer = LlamaTokenizer.load(directory, config)) {
            int[] ids = tokenizer.encode("lamp<|im_end|>");
            assertEquals(384, ids[ids.length - 1]);
            assertEquals(OptionalInt.of(384), tokenizer.eosId());
            assertEquals("lamp", tokenizer.decode(ids));
        }
        assertRefused(
                directory, "tokenizer_config.json", "<|im_end|> should have an id below vocab_size, 384, found 384");
    }

    // Ids and texts are those of transformers 5.18, here and in those below.
    @ParameterizedTest
    @ValueSource(
            strings = {
                "{'pad_token': '<pad>', 'additional_special_tokens': ['<tool>', 'lamp']}",
                "{'pad_token': '<pad>', 'extra_special_tokens': ['<tool>', 'lamp'], 'add_bos_token': true}",
                "{'extra_special_tokens': {'tool_token': '<tool>', 'lamp_token': 'lamp'}, 'pad_token': '<pad>'}",
                "{'pad_token': '<pad>', 'tool_token': '<tool>', 'lamp_token': 'lamp', 'added_tokens_decoder': {}}",
            })
    void specialTokensThatAreOnlyNamedAreAdded(String config) throws IOException {
        try (LlamaTokenizer tokenizer = loadWith(387, with(Map.of("tokenizer_config.json", config)))) {
            assertEquals("384,385,386", ids(tokenizer, "<pad><tool>lamp"));
            assertEquals("", tokenizer.decode(384, 385, 386));
        }
    }

    @Test
    void theMapsTokensAreAddedToo() throws IOException {
        Path directory = with(Map.of(
                "special_tokens_map.json",
                "{'pad_token': {'content': '<pad>', 'lstrip': true, 'rstrip': false, 'normalized': false,"
                        + " 'single_word': false}}"));
        try (LlamaTokenizer tokenizer = loadWith(385, directory)) {
            assertEquals(ids(tokenizer, "a") + ",384", ids(tokenizer, "a   <pad>"));
        }
    }

    @Test
    void namesOfTheMapCountInEveryForm() throws IOException {
        String map = "{'image_token': '<img>', 'extra_special_tokens': {'tool_token': '<tool>'}}";
        try (LlamaTokenizer tokenizer = loadWith(386, with(Map.of("special_tokens_map.json", map)))) {
            assertEquals("384,385", ids(tokenizer, "<img><tool>"));
            assertEquals("", tokenizer.decode(384, 385));
        }
        Map<String, String> both =
                Map.of("special_tokens_map.json", map, "tokenizer_config.json", "{'image_token': '<other>'}");
        try (LlamaTokenizer tokenizer = loadWith(386, with(both))) {
            assertEquals("384", ids(tokenizer, "<other>"));
        }
    }

    @Test
    void additionalTokensOfTheMapCountWhereTheConfigHasNone() throws IOException {
        String map = "{'additional_special_tokens': ['<map>']}";
        for (String name : new String[] {"additional_special_tokens", "extra_special_tokens"}) {
            Map<String, String> both =
                    Map.of("tokenizer_config.json", "{'" + name + "': ['<tool>']}", "special_tokens_map.json", map);
            try (LlamaTokenizer tokenizer = loadWith(386, with(both))) {
                assertEquals("384," + without("<map>"), ids(tokenizer, "<tool><map>"));
            }
        }
        try (LlamaTokenizer tokenizer = loadWith(385, with(Map.of("special_tokens_map.json", map)))) {
            assertEquals("384", ids(tokenizer, "<map>"));
        }
    }

    private String without(String text) throws IOException {
        try (LlamaTokenizer tokenizer = load(with(Map.of()))) {
            return ids(tokenizer, text);
        }
    }

    @Test
    void anExtraTokenWithFlagsIsSpecialIfItSaysSo() throws IOException {
        String flags = "'__type': 'AddedToken', 'lstrip': false, 'rstrip': false, 'normalized': false";
        String config = "{'additional_special_tokens': [{'content': '<tool>', " + flags + "},"
                + " {'content': '<call>', 'special': true, " + flags + "}, '<end>']}";
        try (LlamaTokenizer tokenizer = loadWith(387, with(Map.of("tokenizer_config.json", config)))) {
            assertEquals("384,385,386", ids(tokenizer, "<tool><call><end>"));
            assertEquals("<tool>", tokenizer.decode(384, 385, 386));
        }
    }

    @Test
    void anExtraTokenThatIsNamedTooHasItsFlagsAndIsSpecial() throws IOException {
        String config =
                "{'pad_token': '<pad>', 'additional_special_tokens': [{'__type': 'AddedToken', 'content': '<pad>',"
                        + " 'lstrip': true, 'rstrip': false, 'normalized': false}]}";
        try (LlamaTokenizer tokenizer = loadWith(385, with(Map.of("tokenizer_config.json", config)))) {
            assertEquals(ids(tokenizer, "a") + ",384", ids(tokenizer, "a  <pad>"));
            assertEquals("", tokenizer.decode(384));
        }
    }

    @Test
    void addedTokensInAFileOfTheirOwnAreAddedByIdAndSpecialIfNamed() throws IOException {
        String added = "{'<a>': 385, '<pad>': 384, '" + END + "': 1}";
        Map<String, String> files =
                Map.of("added_tokens.json", added, "tokenizer_config.json", "{'pad_token': '<pad>'}");
        try (LlamaTokenizer tokenizer = loadWith(386, with(files))) {
            assertEquals("384,385,1", ids(tokenizer, "<pad><a>" + END));
            assertEquals("<a>", tokenizer.decode(384, 385, 1));
        }
        Map<String, String> newer =
                Map.of("added_tokens.json", added, "tokenizer_config.json", "{'added_tokens_decoder': {}}");
        try (LlamaTokenizer tokenizer = loadWith(386, with(newer))) {
            assertEquals(without("<a>"), ids(tokenizer, "<a>"));
        }
        assertRefused(with(Map.of("added_tokens.json", "{'<a>': '7'}")), "added_tokens.json", "expected ids", "\"7\"");
    }

    @Test
    void theFlagsOfTheConfigsTokensCount() throws IOException {
        Path directory = with(Map.of(
                "tokenizer_config.json",
                "{'added_tokens_decoder': {'1': {'content': '" + END + "', 'rstrip': true, 'special': false}}}"));
        try (LlamaTokenizer tokenizer = load(directory)) {
            assertEquals("1," + ids(tokenizer, "a"), ids(tokenizer, END + "  a"));
            assertEquals("a", tokenizer.decode(tokenizer.encode(END + "a")));
        }
    }

    // The library would end the program at the first text that has both.
    @Test
    void whiteSpaceThatTwoTokensTakeIsRefused() throws IOException {
        String tokens = "{'extra_special_tokens': [{'content': '<tool>', 'rstrip': true},"
                + " {'content': '\\u2003\\n', 'lstrip': true}]}";
        assertRefused(
                with(Map.of("tokenizer_config.json", tokens)),
                "tokenizer.json",
                "white space should have no lstrip where another has rstrip, found \"\u2003\\n\" and \"<tool>\"");
        String apart = tokens.replace("'rstrip': true", "'rstrip': true, 'normalized': false");
        try (LlamaTokenizer tokenizer = loadWith(386, with(Map.of("tokenizer_config.json", apart)))) {
            assertEquals("384," + ids(tokenizer, "a"), ids(tokenizer, "<tool> \u2003\n a"));
        }
    }

    @Test
    void specialTokensThatAreToBeSplitAreRefused() throws IOException {
        assertRefused(
                with(Map.of("tokenizer_config.json", "{'split_special_tokens': true}")),
                "tokenizer_config.json",
                "split_special_tokens should be false");
    }

    @Test
    void anAddedTokenHasTheIdThatTheLibraryGivesIt() throws IOException {
        Path directory = withTokenizer(
                json -> json.withArray("added_tokens")
                        .addObject()
                        .put("id", 400)
                        .put("content", "<tool>")
                        .put("single_word", false)
                        .put("lstrip", false)
                        .put("rstrip", false)
                        .put("normalized", false)
                        .put("special", true),
                "{'eos_token': '<tool>'}");
        try (LlamaTokenizer tokenizer = loadWith(385, directory)) {
            assertEquals("384", ids(tokenizer, "<tool>"));
            assertEquals(OptionalInt.of(384), tokenizer.eosId());
        }
    }

    @Test
    void aTokenThatIsAddedBeyondTheEmbeddingIsRefusedWhereATextHasIt() throws IOException {
        Path directory = with(Map.of(
                "tokenizer_config.json",
                "{'pad_token': '<pad>', 'added_tokens_decoder': {'384': {'content': '<pad>', 'special': true}}}"));
        try (LlamaTokenizer tokenizer = load(directory)) {
            assertEquals("lamp", tokenizer.decode(tokenizer.encode("lamp")));
            IllegalArgumentException e =
                    assertThrows(IllegalArgumentException.class, () -> tokenizer.encode("lamp<pad>"));
            assertTrue(e.getMessage().contains("<pad>, whose id is 384"), e.getMessage());
            assertTrue(e.getMessage().contains("384 rows (vocab_size)"), e.getMessage());
        }
    }
}
