package io.qlora.lora;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ModelCardTest {

    @TempDir
    Path folder;

    private static String card(String base) {
        return ModelCard.of(LoraConfig.builder().baseModelNameOrPath(base).build(), List.of("q_proj"));
    }

    private static void assertNamed(String name, String card) {
        assertTrue(card.startsWith("---\nbase_model: " + name + "\n"), card);
        assertTrue(card.contains("\ntags:\n- \"base_model:adapter:" + name + "\"\n- lora\n"), card);
        assertTrue(card.contains("the base model `" + name + "`"), card);
    }

    /** The hub refuses a card whose base is a path, so there is none, in the tags either. */
    private static void assertUnnamed(String card) {
        assertFalse(card.lines().anyMatch(line -> line.startsWith("base_model") || line.startsWith("- \"base")), card);
        assertTrue(card.startsWith("---\n# base_model: owner/name"), card);
        assertTrue(card.contains("\ntags:\n- lora\n"), card);
    }

    private Path model(String directory, String config) throws IOException {
        Path model = Files.createDirectories(folder.resolve(directory));
        Files.writeString(model.resolve("config.json"), config);
        return model;
    }

    @ParameterizedTest
    @ValueSource(strings = {"meta-llama/Llama-3.2-1B", "a/b", "owner_1/name.v2"})
    void aNameOnTheHubIsTheBase(String name) {
        assertNamed(name, card(name));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "/models/llama",
                "models/meta/llama",
                "./llama",
                "../llama",
                "models/../llama",
                "~/llama",
                "llama-3.2-1b",
                "C:\\models\\llama",
                "a\0b",
                "two words/llama",
            })
    void aPathIsInTheTextAlone(String path) {
        assertUnnamed(card(path));
        assertTrue(card(path).contains("For the base model `" + path + "`: rank 8"), card(path));
    }

    @Test
    void aDirectoryIsAPathEvenIfItLooksLikeAName() throws IOException {
        Path model = model("llama", "{}");
        Path relative = Path.of("").toAbsolutePath().relativize(model);
        assertUnnamed(card(relative.toString()));
        assertUnnamed(card("target/classes"));
    }

    @ParameterizedTest
    @CsvSource({"llama-3.2-1b, meta-llama/Llama-3.2-1B", "TinyLlama, some.one/TinyLlama"})
    void aModelThatKnowsItsNameIsCalledByIt(String directory, String name) throws IOException {
        assertNamed(
                name,
                card(model(directory, "{\"_name_or_path\": \"" + name + "\"}").toString()));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "{\"_name_or_path\": \"meta-llama/Llama-3.2-1B\"}", // what it was made from
                "{\"_name_or_path\": \"/home/me/mine\"}",
                "{\"_name_or_path\": \"mine\"}",
                "{\"_name_or_path\": \"\"}",
                "{\"_name_or_path\": null}",
                "{",
            })
    void aModelThatDoesNotKnowItsNameHasNone(String config) throws IOException {
        Path model = model("mine", config);
        assertUnnamed(card(model.toString()));
        assertTrue(card(model.toString()).contains("`" + model + "`"));
    }

    @Test
    void aBaseThatWasNotNamedIsCalledThat() {
        assertUnnamed(card(null));
        assertTrue(card(null).contains("For a base model that was not named: rank 8"), card(null));
    }

    @Test
    void thePathStaysInTheAdaptersConfig() {
        LoraConfig config =
                LoraConfig.builder().baseModelNameOrPath("/models/llama").build();
        assertEquals(
                "/models/llama",
                ConfigWriter.toJson(config, List.of("q_proj"))
                        .get("base_model_name_or_path")
                        .asText());
    }
}
