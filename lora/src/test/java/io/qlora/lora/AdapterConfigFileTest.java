package io.qlora.lora;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.qlora.engine.safetensors.JsonFiles;
import io.qlora.engine.safetensors.MalformedFileException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** {@code adapter_config.json}, read strictly and written as PEFT writes it. */
class AdapterConfigFileTest {

    private static final Path GOLDEN = Path.of("src/test/resources/golden/tiny");

    @TempDir
    Path directory;

    private Path file() {
        return directory.resolve(PeftFiles.CONFIG);
    }

    /** A minimal file and what is added to it. */
    private LoraConfig read(String more) throws IOException {
        String comma = more.isEmpty() ? "" : ", ";
        Files.writeString(file(), "{\"peft_type\": \"LORA\", \"target_modules\": [\"q_proj\"]" + comma + more + "}");
        return PeftFiles.readConfig(directory);
    }

    private List<String> warnings(String more) throws IOException {
        read(more);
        ConfigReader reader = new ConfigReader(file(), JsonFiles.readObject(file()));
        reader.read();
        return reader.warnings();
    }

    private void assertRefused(String more, String problem) {
        IOException e = assertThrows(MalformedFileException.class, () -> read(more));
        assertEquals(file() + ": " + problem, e.getMessage());
    }

    @Test
    void typeAndTargetsAreEnough() throws IOException {
        assertEquals(LoraConfig.builder().targetModules("q_proj").build(), read(""));
    }

    @Test
    void everythingIsRead() throws IOException {
        Map<String, Integer> ranks = new LinkedHashMap<>();
        ranks.put("q_proj", 4);
        ranks.put("a", 2);
        LoraConfig expected = LoraConfig.builder()
                .r(3)
                .loraAlpha(2.5)
                .loraDropout(0.05)
                .targetModules("q_proj")
                .useRslora(true)
                .rankPattern(ranks)
                .alphaPattern(Map.of("q_proj", 1.0))
                .layersToTransform(List.of(4))
                .layersPattern(List.of("layers"))
                .baseModelNameOrPath("some/model")
                .build();
        LoraConfig found = read("""
                "r": 3, "lora_alpha": 2.5, "lora_dropout": 0.05, "use_rslora": true, "rank_pattern": {"q_proj": 4, "a": 2},
                "alpha_pattern": {"q_proj": 1}, "layers_to_transform": 4, "layers_pattern": "layers",
                "base_model_name_or_path": "some/model", "inference_mode": false, "task_type": null, "revision": "main"
                """);
        assertEquals(expected, found);
        assertEquals(
                List.of("q_proj", "a"), List.copyOf(found.rankPattern().keySet()), "first match wins: order counts");
    }

    @Test
    void targetsAreAListARegexOrAllLinear() throws IOException {
        for (String regex : List.of(".*q_proj", "q_proj")) {
            Files.writeString(file(), "{\"peft_type\": \"LORA\", \"target_modules\": \"" + regex + "\"}");
            assertEquals(
                    new TargetModules.Regex(regex),
                    PeftFiles.readConfig(directory).targetModules());
        }
        Files.writeString(file(), "{\"peft_type\": \"LORA\", \"target_modules\": \"all-linear\"}");
        assertEquals(
                new TargetModules.AllLinear(), PeftFiles.readConfig(directory).targetModules());
    }

    @Test
    void configurationsAreReadBackAsTheyWereWritten() throws IOException {
        List<LoraConfig> configs = List.of(
                LoraConfig.builder().targetModules("o_proj").build(),
                LoraConfig.builder()
                        .r(5)
                        .loraAlpha(0.5)
                        .loraDropout(0.1)
                        .targetModules(new TargetModules.Regex(".*_proj"))
                        .useRslora(true)
                        .rankPattern(Map.of("q_proj", 2))
                        .alphaPattern(Map.of("q_proj", 2.5))
                        .build(),
                LoraConfig.builder()
                        .targetModules("v_proj", "q_proj")
                        .layersToTransform(List.of(0, 2))
                        .layersPattern(List.of("layers"))
                        .baseModelNameOrPath("a \"base\"")
                        .build());
        for (LoraConfig config : configs) {
            JsonFiles.write(file(), ConfigWriter.toJson(config, List.of()));
            assertEquals(config, PeftFiles.readConfig(directory));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"lora", "rslora", "qv"})
    void whatPeftWroteIsWrittenAgain(String kind) throws IOException {
        Path golden = GOLDEN.resolve("adapter-" + kind);
        LoraConfig config = PeftFiles.readConfig(golden);
        Path written = directory.resolve("written.json");
        JsonFiles.write(written, ConfigWriter.toJson(config, List.of()));
        ObjectNode expected = JsonFiles.readObject(golden.resolve(PeftFiles.CONFIG));
        ObjectNode found = JsonFiles.readObject(written);
        assertEquals(names(expected), names(found));
        for (Map.Entry<String, JsonNode> field : expected.properties()) {
            if (field.getKey().equals("target_modules")) { // a set
                assertEquals(sorted(field.getValue()), sorted(found.get(field.getKey())));
            } else {
                assertEquals(field.getValue(), found.get(field.getKey()), field.getKey());
            }
        }
    }

    private static List<String> names(ObjectNode json) {
        List<String> names = new ArrayList<>();
        json.fieldNames().forEachRemaining(names::add);
        return names;
    }

    private static List<String> sorted(JsonNode list) {
        List<String> texts = new ArrayList<>();
        list.forEach(node -> texts.add(node.textValue()));
        return texts.stream().sorted().toList();
    }

    @Test
    void layoutIsPythons() throws IOException {
        JsonFiles.write(file(), new JsonMapper().readTree("{\"a\":[1,\"x\"],\"b\":{},\"c\":[],\"d\":{\"e\":0.5}}"));
        assertEquals("""
                {
                  "a": [
                    1,
                    "x"
                  ],
                  "b": {},
                  "c": [],
                  "d": {
                    "e": 0.5
                  }
                }
                """, Files.readString(file()));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "use_dora|true",
                "use_qalora|true",
                "lora_bias|true",
                "bias|\"all\"",
                "fan_in_fan_out|true",
                "modules_to_save|[\"lm_head\"]",
                "trainable_token_indices|[1]",
                "layer_replication|[[0,2],[1,3]]",
                "alora_invocation_tokens|[1,2]",
                "target_parameters|[\"a\"]",
                "exclude_modules|[\"k_proj\"]",
                "init_lora_weights|\"pissa_niter_4\"",
                "init_lora_weights|\"loftq\"",
                "use_bdlora|{\"nblocks\":2}",
                "kasa_config|{\"a\":1}",
                "use_something_new|true",
                "something_new_config|{\"a\":1}"
            })
    void whatChangesTheFormulaIsRefused(String key, String value) {
        assertRefused(
                "\"" + key + "\": " + value,
                key + " is " + value
                        + ", which changes what the adapter computes and is not supported: only plain LoRA and rsLoRA are;"
                        + " have PEFT merge it into its base, with merge_and_unload, and use that model");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "use_dora|false",
                "use_dora|null",
                "bias|\"none\"",
                "loftq_config|{}",
                "modules_to_save|[]",
                "megatron_core|\"megatron.core\"",
                "qalora_group_size|32",
                "init_lora_weights|true",
                "init_lora_weights|false",
                "init_lora_weights|\"gaussian\"",
                "init_lora_weights|\"orthogonal\"",
                "init_lora_weights|\"eva\"",
                "init_lora_weights|\"mica\"",
                "use_something_new|false",
                "something_new|\"\"",
                "something_new_config|null"
            })
    void whatSaysNothingPassesSilently(String key, String value) throws IOException {
        assertEquals(List.of(), warnings("\"" + key + "\": " + value));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            value = {
                "megatron_config|{\"a\":1}",
                "eva_config|{\"rho\":2.0}",
                "velora_config|{\"a\":1}",
                "something_new|3"
            })
    void whatIsIgnoredIsWarnedOf(String key, String value) throws IOException {
        assertEquals(
                List.of(file() + ": " + key + " is " + value + ", which is not supported and ignored"),
                warnings("\"" + key + "\": " + value));
    }

    @Test
    void valuesOfAnotherTypeAreNamed() {
        assertRefused("\"r\": 8.5", "r should be a whole number, found 8.5");
        assertRefused("\"r\": \"8\"", "r should be a whole number, found \"8\"");
        assertRefused("\"r\": 0", "r should be at least 1, found 0");
        assertRefused("\"r\": 99999999999", "r should be a whole number, found 99999999999");
        assertRefused("\"lora_alpha\": true", "lora_alpha should be a number, found true");
        assertRefused("\"lora_dropout\": 2", "lora_dropout should be from 0 to below 1, found 2.0");
        assertRefused("\"use_rslora\": 1", "use_rslora should be true or false, found 1");
        assertRefused("\"rank_pattern\": [1]", "rank_pattern should be an object, found [1]");
        assertRefused(
                "\"rank_pattern\": {\"q_proj\": \"4\"}",
                "rank_pattern of q_proj should be a whole number, found \"4\"");
        assertRefused("\"layers_to_transform\": [\"1\"]", "layers_to_transform should be a whole number, found \"1\"");
        assertRefused(
                "\"rank_pattern\": {\"[\": 4}",
                "rank_pattern should be a regular expression of Python's dialect, found \"[\": a [ is not closed");
    }

    @Test
    void otherKindsOfAdapterAreRefused() {
        IOException vera =
                assertThrows(MalformedFileException.class, () -> PeftFiles.readConfig(GOLDEN.resolve("adapter-vera")));
        assertEquals(
                GOLDEN.resolve("adapter-vera/adapter_config.json")
                        + ": peft_type should be \"LORA\", the only kind of adapter that is supported, found \"VERA\"",
                vera.getMessage());
        IOException dora =
                assertThrows(MalformedFileException.class, () -> PeftFiles.readConfig(GOLDEN.resolve("adapter-dora")));
        assertEquals(
                GOLDEN.resolve("adapter-dora/adapter_config.json")
                        + ": use_dora is true, which changes what the adapter computes and is not supported: only plain"
                        + " LoRA and rsLoRA are; have PEFT merge it into its base, with merge_and_unload, and use that"
                        + " model",
                dora.getMessage());
    }

    @Test
    void missingTypeOrTargetsAreNamed() throws IOException {
        Files.writeString(file(), "{\"target_modules\": [\"q_proj\"]}");
        IOException type = assertThrows(MalformedFileException.class, () -> PeftFiles.readConfig(directory));
        assertEquals(
                file() + ": peft_type should be \"LORA\", the only kind of adapter that is supported, found nothing",
                type.getMessage());
        Map<String, String> found =
                Map.of("", "nothing", ", \"target_modules\": null", "null", ", \"target_modules\": 3", "3");
        for (Map.Entry<String, String> targets : found.entrySet()) {
            Files.writeString(file(), "{\"peft_type\": \"LORA\"" + targets.getKey() + "}");
            IOException e = assertThrows(MalformedFileException.class, () -> PeftFiles.readConfig(directory));
            assertEquals(
                    file()
                            + ": target_modules should be a list of names, a regular expression or \"all-linear\", found "
                            + targets.getValue(),
                    e.getMessage());
        }
        Files.writeString(file(), "{\"peft_type\": \"LORA\", \"target_modules\": []}");
        IOException none = assertThrows(MalformedFileException.class, () -> PeftFiles.readConfig(directory));
        assertEquals(file() + ": target_modules should name at least one module, found []", none.getMessage());
    }

    @Test
    void filesThatAreNoConfigurationAreNamed() throws IOException {
        Path missing = directory.resolve("missing");
        IOException none = assertThrows(IOException.class, () -> PeftFiles.readConfig(missing));
        assertEquals(missing + ": no such directory", none.getMessage());
        IOException empty = assertThrows(IOException.class, () -> PeftFiles.readConfig(directory));
        assertEquals(file() + ": no such file", empty.getMessage());
        Files.writeString(file(), "[]");
        IOException list = assertThrows(MalformedFileException.class, () -> PeftFiles.readConfig(directory));
        assertEquals(file() + ": the file should be a JSON object, found []", list.getMessage());
    }
}
