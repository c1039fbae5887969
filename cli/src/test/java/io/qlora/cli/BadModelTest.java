package io.qlora.cli;

import static io.qlora.cli.TinyModel.SHARD;
import static io.qlora.cli.TinyModel.TENSOR;
import static org.junit.jupiter.api.Assertions.assertFalse;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** A model directory that is not what it should be: one sentence that names file and tensor, and nothing is left behind. */
class BadModelTest {

    private static final String INDEX = "model.safetensors.index.json";

    @TempDir
    Path folder;

    private Path model;
    private Path data;

    @BeforeEach
    void copy() throws IOException {
        model = TinyModel.copyTo(folder.resolve("model"));
        data = TinyModel.data(folder.resolve("data.jsonl"), 4);
    }

    private Cli.Result eval() {
        return Cli.run("eval", "--model", model, "--data", data);
    }

    private Cli.Result train() {
        return Cli.train(model, data, folder.resolve("out"), "--max-steps 1");
    }

    @ParameterizedTest
    @EnumSource
    void damagedTensorsAreRefused(DamagedTensors damage) throws IOException {
        damage.inflict(model.resolve(SHARD));
        eval().assertFailure(SHARD, damage.sentence);
        train().assertFailure(SHARD, damage.sentence);
        assertFalse(Files.exists(folder.resolve("out")));
        Cli.run("generate", "--model", model).assertFailure(SHARD, damage.sentence);
        Cli.run("inspect", model).assertFailure(SHARD, damage.sentence);
        Cli.run("inspect", model.resolve(SHARD)).assertFailure(SHARD, damage.sentence);
    }

    @ParameterizedTest
    @ValueSource(strings = {"I16", "Q4_K", "bfloat16"})
    void anUnknownOrUnfitDtypeIsRefused(String dtype) throws IOException {
        TinyModel.editHeaderJson(model.resolve(SHARD), header -> ((ObjectNode) header.get(TENSOR)).put("dtype", dtype));
        eval().assertFailure(SHARD, TENSOR, "its type should be F32, F16 or BF16, found " + dtype);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"../outside.safetensors", "/etc/passwd", "sub/x.safetensors", "..", "C:\\x.safetensors", ""})
    void anIndexThatPointsOutsideIsRefused(String shard) throws IOException {
        Files.copy(model.resolve(SHARD), folder.resolve("outside.safetensors"));
        TinyModel.edit(model.resolve(INDEX), index -> ((ObjectNode) index.get("weight_map")).put(TENSOR, shard));
        eval().assertFailure(INDEX, TENSOR, "bare name");
    }

    @Test
    void anIndexOfMissingShardsIsRefused() throws IOException {
        Files.delete(model.resolve(SHARD));
        eval().assertFailure(INDEX, SHARD, "is not there");
        TinyModel.edit(model.resolve(INDEX), index -> index.put("weight_map", 3));
        eval().assertFailure(INDEX, "weight_map should be an object");
        Files.delete(model.resolve(INDEX));
        eval().assertFailure(model, "expected model.safetensors or", "found neither");
    }

    @ParameterizedTest
    @ValueSource(strings = {SHARD, "tokenizer.json"})
    void aPointerOfGitLfsIsNotTakenForTheFile(String name) throws IOException {
        Files.writeString(
                model.resolve(name),
                "version https://git-lfs.github.com/spec/v1\noid sha256:68a2e4be76fa709455a60272fba8e512c02d81c4\nsize 2471\n");
        eval().assertFailure(name, "found only Git LFS's pointer to it", "git lfs pull");
    }

    @Test
    void aShardThatLacksWhatTheIndexSaysIsRefused() throws IOException {
        TinyModel.editHeader(model.resolve(SHARD), header -> header.replace("q_proj", "x_proj"));
        eval().assertFailure(SHARD, TENSOR);
    }

    @ParameterizedTest
    @CsvSource({
        "hidden_size, 128, 'model.embed_tokens.weight: expected'",
        "intermediate_size, 256, gate_proj.weight: expected",
        "num_attention_heads, 8, q_proj.weight: expected",
        "num_key_value_heads, 4, k_proj.weight: expected",
        "head_dim, 16, q_proj.weight: expected",
        "vocab_size, 400, model.embed_tokens.weight: expected",
        "num_hidden_layers, 4, model.layers.3",
        "num_hidden_layers, 2, num_hidden_layers 2",
    })
    void shapesThatContradictTheConfigAreRefused(String setting, int value, String expected) throws IOException {
        TinyModel.edit(model.resolve("config.json"), config -> config.put(setting, value));
        eval().assertFailure(expected);
        train().assertFailure(expected);
        assertFalse(Files.exists(folder.resolve("out")));
    }

    @ParameterizedTest
    @CsvSource({
        "num_attention_heads, 0",
        "num_key_value_heads, 3",
        "head_dim, 31",
        "hidden_size, -96",
        "num_hidden_layers, 2000000000",
        "vocab_size, 99999999999",
        "rms_norm_eps, 'nought'",
        "max_position_embeddings, 0",
        "dtype, 'int3'",
        "hidden_act, 'gelu'",
    })
    void anImpossibleConfigIsRefused(String setting, String value) throws IOException {
        TinyModel.edit(model.resolve("config.json"), config -> {
            if (value.matches("-?\\d+")) {
                config.put(setting, Long.parseLong(value));
            } else {
                config.put(setting, value);
            }
        });
        eval().assertFailure("config.json", setting, "should be", "found");
        train().assertFailure("config.json", setting);
        Cli.run("inspect", model).assertFailure("config.json", setting);
    }

    @Test
    void anUnknownArchitectureIsRefused() throws IOException {
        TinyModel.edit(
                model.resolve("config.json"),
                config -> config.putArray("architectures").add("MistralForCausalLM"));
        train().assertFailure("config.json", "architectures", "LlamaForCausalLM", "MistralForCausalLM");
        eval().assertFailure("config.json", "architectures");
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "{", "[]", "{} {}", "nul\0l", "{\"vocab_size\": 1, \"vocab_size\": 2}"})
    void aConfigThatIsNoJsonObjectIsRefused(String text) throws IOException {
        Files.writeString(model.resolve("config.json"), text);
        train().assertFailure("config.json", "should");
    }

    @ParameterizedTest
    @ValueSource(strings = {"", "{", "[]", "{}", "{\"model\": {\"vocab\": {\"a\": \"b\"}}}"})
    void aMalformedTokenizerIsRefused(String text) throws IOException {
        Files.writeString(model.resolve("tokenizer.json"), text);
        train().assertFailure("tokenizer.json", "expected");
        eval().assertFailure("tokenizer.json", "expected");
        Cli.run("generate", "--model", model).assertFailure("tokenizer.json", "expected");
    }

    @Test
    void aTokenizerOfUnknownKindIsRefused() throws IOException {
        TinyModel.edit(
                model.resolve("tokenizer.json"),
                tokenizer -> ((ObjectNode) tokenizer.get("model")).put("type", "Magic"));
        train().assertFailure("tokenizer.json", "cannot be used");
    }

    @Test
    void aMissingTokenizerIsRefused() throws IOException {
        Files.delete(model.resolve("tokenizer.json"));
        train().assertFailure("tokenizer.json", "no such file");
        eval().assertFailure("tokenizer.json", "no such file");
    }

    @Test
    void aTokenizerLargerThanTheEmbeddingIsRefused() throws IOException {
        TinyModel.edit(
                model.resolve("tokenizer.json"),
                tokenizer -> ((ObjectNode) tokenizer.get("model").get("vocab")).put("zebra", 384));
        train().assertFailure("tokenizer.json", "384 rows", "zebra", "take the tokenizer that belongs to the model");
        eval().assertFailure("tokenizer.json", "384 rows");
    }
}
