package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** An adapter that is damaged, of another model, or of a kind that would be computed wrongly. */
class BadAdapterTest {

    private static final String WEIGHTS = "adapter_model.safetensors";
    private static final String CONFIG = "adapter_config.json";

    @TempDir
    static Path shared;

    @TempDir
    Path folder;

    private Path adapter;

    @BeforeAll
    static void train() throws IOException {
        Path data = TinyModel.data(shared.resolve("data.jsonl"), 2);
        Cli.Result result = Cli.train(TinyModel.DIRECTORY, data, shared.resolve("trained"), "--max-steps 1 --lora-r 2");
        assertEquals(0, result.status(), result.err());
    }

    @BeforeEach
    void copy() throws IOException {
        adapter = TinyModel.copy(shared.resolve("trained"), folder.resolve("adapter"));
    }

    private Cli.Result eval(Path model) {
        Path data = shared.resolve("data.jsonl");
        return Cli.run("eval", "--model", model, "--adapter", adapter, "--data", data, "--json");
    }

    private Cli.Result eval() {
        return eval(TinyModel.DIRECTORY);
    }

    @Test
    void theAdapterAsItWasIsFine() throws IOException {
        assertEquals(7, eval().json().get("target_tokens").asInt());
    }

    @ParameterizedTest
    @EnumSource
    void damagedTensorsAreRefused(DamagedTensors damage) throws IOException {
        damage.inflict(adapter.resolve(WEIGHTS));
        eval().assertFailure(WEIGHTS, damage.sentence);
        Cli.run("generate", "--model", TinyModel.DIRECTORY, "--adapter", adapter)
                .assertFailure(WEIGHTS, damage.sentence);
        Cli.run("inspect", adapter).assertFailure(WEIGHTS, damage.sentence);
    }

    @Test
    void anAdapterOfALargerModelIsRefused() throws IOException {
        Path smaller = TinyModel.resized(folder.resolve("model"), 2, 200);
        eval(smaller).assertFailure(WEIGHTS, "layers.2", "another model");
    }

    @Test
    void anAdapterOfOtherShapesIsRefused() throws IOException {
        Path wider = TinyModel.resized(folder.resolve("model"), 3, 240);
        eval(wider)
                .assertFailure(
                        WEIGHTS, "gate_proj.lora_B.weight", "expected [240, 2]", "found [200, 2]", "another model");
    }

    @Test
    void anAdapterOfModulesThatThisModelLacksIsRefused() throws IOException {
        TinyModel.edit(
                adapter.resolve(CONFIG),
                config -> config.putArray("target_modules").add("query_key_value"));
        eval().assertFailure(CONFIG, "query_key_value", "another model");
    }

    @ParameterizedTest
    @CsvSource({
        "peft_type, IA3, peft_type should be \"LORA\"",
        "r, -4, r should be at least 1",
        "r, many, r should be a whole number",
        "use_dora, true, use_dora",
        "bias, all, bias",
        "target_modules, '(', target_modules",
    })
    void aConfigurationThatWouldBeComputedWronglyIsRefused(String key, String value, String expected)
            throws IOException {
        TinyModel.edit(adapter.resolve(CONFIG), config -> {
            switch (value) {
                case "true" -> config.put(key, true);
                case "-4" -> config.put(key, -4);
                default -> config.put(key, value);
            }
        });
        eval().assertFailure(CONFIG, expected);
    }

    @Test
    void aRankThatIsNotTheTensorsIsRefused() throws IOException {
        TinyModel.edit(adapter.resolve(CONFIG), config -> config.put("r", 4));
        eval().assertFailure(WEIGHTS, "lora_A.weight", "expected [4, 96]", "found [2, 96]");
    }

    @Test
    void missingFilesAreNamed() throws IOException {
        Files.delete(adapter.resolve(WEIGHTS));
        eval().assertFailure(WEIGHTS, "no such file");
        Files.writeString(adapter.resolve("adapter_model.bin"), "");
        eval().assertFailure("adapter_model.bin", "safetensors");
        Files.delete(adapter.resolve(CONFIG));
        eval().assertWrongUse("--adapter " + adapter, "expected a PEFT directory, found no " + CONFIG);
    }

    @Test
    void aConfigurationThatIsNoJsonIsRefused() throws IOException {
        Files.writeString(adapter.resolve(CONFIG), "{\"r\": 8,}");
        eval().assertFailure(CONFIG, "should be JSON", "line 1");
    }

    @Test
    void missingPathsAreWrongUse() {
        adapter = folder.resolve("nowhere");
        eval().assertWrongUse("--adapter " + adapter, "there is no such directory");
        adapter = shared.resolve("data.jsonl");
        eval().assertWrongUse("--adapter " + adapter, "expected a directory, found a file");
    }
}
