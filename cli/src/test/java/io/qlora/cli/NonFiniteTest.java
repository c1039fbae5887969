package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.safetensors.SafetensorsFile;
import io.qlora.engine.safetensors.TensorEntry;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A loss that is not finite: the run stops, names step and first tensor that is not, and keeps the last good adapter. */
class NonFiniteTest {

    @TempDir
    Path folder;

    private Path data;
    private Path output;

    @BeforeEach
    void write() throws IOException {
        data = TinyModel.data(folder.resolve("data.jsonl"), 4);
        output = folder.resolve("out");
    }

    private Cli.Result train(Path model, Object learningRate) {
        return Cli.train(
                model,
                data,
                output,
                "--max-steps 9 --lora-r 2 --lr-scheduler-type constant --learning-rate",
                learningRate);
    }

    @Test
    void aLearningRateThatIsFarTooHighAtOnceLeavesNothing() throws IOException {
        train(TinyModel.DIRECTORY, 1e30)
                .assertFailure(
                        "step 2: the loss is NaN and the first tensor that is not finite is the input of model.layers.0.self_attn.o_proj",
                        "no step before it was good, there is nothing to keep",
                        "lower --learning-rate");
        assertEquals(Set.of(), Contents.of(output).names());
        assertEquals(0, train(TinyModel.DIRECTORY, 1e-3).status());
    }

    @Test
    void aLearningRateThatIsTooHighLeavesTheAdapterBeforeIt() throws IOException {
        String rising = "--lr-scheduler-type constant_with_warmup --warmup-ratio 0.5 --learning-rate 1e30"; // from 0
        Cli.train(TinyModel.DIRECTORY, data, output, "--max-steps 9 --lora-r 2 " + rising)
                .assertFailure(
                        "step 3: the loss is NaN",
                        "the adapter is kept as it was after step 1",
                        "lower --learning-rate");
        assertFiniteAndSmall(output.resolve("adapter_model.safetensors"));
        assertEquals(2, Files.readAllLines(output.resolve("metrics.jsonl")).size());
        assertTrue(Files.exists(output.resolve("loss.svg")));
    }

    private static void assertFiniteAndSmall(Path weights) throws IOException {
        try (SafetensorsFile file = SafetensorsFile.open(weights)) {
            for (TensorEntry entry : file.entries()) {
                for (float value : file.readFloats(entry.name())) {
                    assertTrue(Math.abs(value) < 10, entry.name() + " has " + value);
                }
            }
        }
    }

    @Test
    void aBaseWeightThatIsNotFiniteIsNamedBeforeAnythingIsLearnt() throws IOException {
        Path model = TinyModel.copyTo(folder.resolve("model"));
        poison(model.resolve("model-00004-of-00004.safetensors"), "lm_head.weight");
        train(model, 1e-3)
                .assertFailure(
                        "step 1: the loss is NaN and the first tensor that is not finite is the weight of the output head;"
                                + " no step before it was good, there is nothing to keep; the weights of the model are damaged: get"
                                + " them again");
        assertEquals(Set.of(), Contents.of(output).names());
        Cli.run("eval", "--model", model, "--data", data)
                .assertFailure("evaluation: the loss is NaN", "the weight of the output head", "damaged");
        Cli.run("generate", "--model", model)
                .assertFailure(
                        model + ": the logit of token 0 is NaN: the weights of the model or of an adapter are damaged");
    }

    @Test
    void anEmbeddingThatIsNotFiniteIsNamed() throws IOException {
        Path model = TinyModel.copyTo(folder.resolve("model"));
        poison(model.resolve("model-00001-of-00004.safetensors"), "model.embed_tokens.weight");
        Cli.run("eval", "--model", model, "--data", data)
                .assertFailure("evaluation: the loss is NaN", "the embedding's weight");
    }

    @Test
    void aNormThatIsNotFiniteIsNamed() throws IOException {
        Path model = TinyModel.copyTo(folder.resolve("model"));
        String name = "model.layers.1.post_attention_layernorm.weight";
        poison(shardOf(model, name), name);
        train(model, 1e-3).assertFailure("step 1: the loss is NaN", name, "the weights of the model are damaged");
    }

    private static Path shardOf(Path model, String name) throws IOException {
        String index = Files.readString(model.resolve("model.safetensors.index.json"));
        Matcher shard = Pattern.compile('"' + Pattern.quote(name) + "\"\\s*:\\s*\"(.*?)\"")
                .matcher(index);
        assertTrue(shard.find(), index);
        return model.resolve(shard.group(1));
    }

    @Test
    void aRunWhoseFirstEvaluationIsNotFiniteLeavesNothing() throws IOException {
        Path model = TinyModel.copyTo(folder.resolve("model"));
        poison(model.resolve("model-00004-of-00004.safetensors"), "lm_head.weight");
        Cli.train(model, data, output, "--max-steps 1 --eval-split 1")
                .assertFailure("evaluation: the loss is NaN", "the weight of the output head");
        assertFalse(Files.exists(output.resolve("adapter_model.safetensors")));
        assertFalse(Files.exists(output.resolve("metrics.jsonl")));
    }

    @Test
    void anAdapterThatIsNotFiniteIsNamed() throws IOException {
        assertEquals(0, train(TinyModel.DIRECTORY, 1e-3).status());
        String name = "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight";
        poison(output.resolve("adapter_model.safetensors"), name);
        Cli.run("eval", "--model", TinyModel.DIRECTORY, "--adapter", output, "--data", data)
                .assertFailure("the output of model.layers.1.mlp.up_proj");
    }

    /** Makes all elements of a tensor NaN. */
    private static void poison(Path path, String name) throws IOException {
        TensorEntry entry;
        try (SafetensorsFile file = SafetensorsFile.open(path)) {
            entry = file.entry(name);
        }
        ByteBuffer bytes = ByteBuffer.allocate(Math.toIntExact(entry.bytes())).order(ByteOrder.LITTLE_ENDIAN);
        while (bytes.hasRemaining()) {
            bytes.put((byte) -1);
        }
        try (FileChannel channel = FileChannel.open(path, StandardOpenOption.WRITE)) {
            assertEquals(entry.bytes(), channel.write(bytes.flip(), entry.offset()));
        }
    }
}
