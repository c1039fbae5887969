package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** With {@code --json} standard output is one JSON object, of finite numbers, and nothing else. */
class JsonOutputTest {

    @TempDir
    static Path shared;

    private static Path data;
    private static Path output;
    private static Cli.Result training;

    @BeforeAll
    static void train() throws IOException {
        data = TinyModel.data(shared.resolve("data.jsonl"), 6);
        output = shared.resolve("out");
        training = Cli.train(
                TinyModel.DIRECTORY,
                data,
                output,
                "--max-steps 3 --learning-rate 1e-2 --per-device-train-batch-size 2 --eval-split 2 --json");
    }

    private static void assertFinite(JsonNode report) {
        report.forEach(JsonOutputTest::assertFinite);
        assertFalse(report.isTextual() && report.asText().matches("NaN|-?Infinity"), report.asText());
    }

    @Test
    void trainReports() throws IOException {
        JsonNode report = training.json();
        assertFinite(report);
        assertEquals(output.toString(), report.get("output").asText());
        assertEquals(3, report.get("steps").asInt());
        assertFalse(report.get("stopped").asBoolean());
        assertTrue(report.get("train_loss").isNumber());
        assertTrue(report.get("eval_loss_before").asDouble()
                > report.get("eval_loss").asDouble());
        assertTrue(report.get("eval_target_tokens").asInt() > 0);
        assertTrue(report.get("tokens_per_second").asDouble() > 0);
        assertTrue(report.get("planned_bytes").asLong() > 100 << 20);
    }

    @Test
    void whatAPersonReadsIsOnStandardError() {
        assertTrue(training.err().startsWith("qlora    JDK "), training.err());
        assertTrue(training.err().contains("model    tiny, 357,792 parameters"), training.err());
        assertTrue(training.err().contains("data     4 documents"), training.err());
        assertTrue(training.err().contains("adapter  LoRA of rank 8, 39,744 parameters"), training.err());
        assertTrue(training.err().contains("memory   "), training.err());
        assertTrue(training.err().contains("step 3/3  "), training.err());
        assertTrue(training.err().contains("adapter  " + output), training.err());
    }

    @Test
    void eval() throws IOException {
        JsonNode report = Cli.run("eval", "--model", TinyModel.DIRECTORY, "--adapter", output, "--data", data, "--json")
                .json();
        assertFinite(report);
        assertEquals(
                Math.exp(report.get("nll").asDouble()), report.get("perplexity").asDouble());
        assertTrue(report.get("target_tokens").asInt() > 6);
        assertEquals(6, report.get("documents").asInt());
    }

    @Test
    void evalWithoutJsonIsOneLine() {
        Cli.Result result = Cli.run("eval", "--model", TinyModel.DIRECTORY, "--data", data);
        assertTrue(
                result.out().matches("\\d+\\.\\d{4} nats per target token, perplexity [\\d.]+ \\(\\d+ targets\\)\\R"),
                result.out());
        assertTrue(result.err().matches("(?s).*\\Reval     of \\d+ tokens has begun\\R"), result.err());
    }

    @Test
    void generate() throws IOException {
        Cli.Result result =
                Cli.run("generate", "--model", TinyModel.DIRECTORY, "--prompt", "Say", "--max-new-tokens", 3, "--json");
        JsonNode report = result.json();
        assertFinite(report);
        assertEquals(3, report.get("ids").size());
        assertTrue(report.get("tokens_per_second").asDouble() > 0);
        Cli.Result plain =
                Cli.run("generate", "--model", TinyModel.DIRECTORY, "--prompt", "Say", "--max-new-tokens", 3);
        assertEquals(report.get("text").asText() + System.lineSeparator(), plain.out());
    }

    @Test
    void generationEndsAtTheIdsOfTheGenerationConfig(@TempDir Path folder) throws IOException {
        Path model = TinyModel.copyTo(folder.resolve("model"));
        JsonNode ids = generated(model);
        TinyModel.edit(
                model.resolve("generation_config.json"),
                config -> config.putArray("eos_token_id").add(1).add(ids.get(2).asInt()));
        JsonNode ended = generated(model);
        assertTrue(ended.size() <= 2 && ids.get(0).equals(ended.get(0)), ids + " and " + ended);
    }

    @Test
    void whatElseTheGenerationConfigAsksForIsSaidNotToBeApplied(@TempDir Path folder) throws IOException {
        Path model = TinyModel.copyTo(folder.resolve("model"));
        TinyModel.edit(
                model.resolve("generation_config.json"),
                config -> config.put("repetition_penalty", 1.3)
                        .put("num_beams", 1)
                        .put("no_repeat_ngram_size", 0)
                        .putNull("bad_words_ids")
                        .put("forced_eos_token_id", 1));
        String err =
                Cli.run("generate", "--model", model, "--max-new-tokens", 1).err();
        assertTrue(err.contains("generation_config.json: repetition_penalty 1.3 is not applied"), err);
        assertTrue(err.contains("forced_eos_token_id 1 is not applied"), err);
        assertFalse(err.contains("num_beams") || err.contains("no_repeat") || err.contains("bad_words"), err);
    }

    private static JsonNode generated(Path model) throws IOException {
        return Cli.run("generate", "--model", model, "--prompt", "Say", "--max-new-tokens", 6, "--json")
                .json()
                .get("ids");
    }

    @Test
    void inspect() throws IOException {
        JsonNode model =
                Cli.run("inspect", TinyModel.DIRECTORY, "--json", "--tensors").json();
        assertEquals("Llama model", model.get("kind").asText());
        assertEquals(3, model.get("facts").get("layers").asInt());
        assertEquals(357_792, model.get("facts").get("elements").asLong());
        assertEquals(30, model.get("tensors").size());
        JsonNode adapter = Cli.run("inspect", output, "--json").json();
        assertEquals("PEFT adapter", adapter.get("kind").asText());
        assertEquals(8, adapter.get("facts").get("r").asInt());
        assertEquals(39_744, adapter.get("facts").get("elements").asLong());
        JsonNode file = Cli.run("inspect", output.resolve("adapter_model.safetensors"), "--json")
                .json();
        assertEquals("safetensors", file.get("kind").asText());
        JsonNode records = Cli.run("inspect", data, "--json").json();
        assertEquals(6, records.get("facts").get("records").asInt());
        assertEquals(6, records.get("facts").get("prompts_with_completions").asInt());
    }

    @Test
    void doctor() throws IOException {
        JsonNode report = Cli.run("doctor", "--json").json();
        assertFinite(report);
        assertEquals(Runtime.version().toString(), report.get("jdk").asText());
        String gpu = report.get("gpu").asText();
        assertTrue(gpu.startsWith("no GPU: ") || gpu.contains(", driver for CUDA "), gpu);
        assertFalse(report.has("gpu_summary"));
        assertEquals("its native library loads", report.get("tokenizer").asText());
        assertTrue(report.get("copy_bytes_per_second").asDouble() > 1e8);
        assertTrue(report.get("machine_processors").asInt()
                >= report.get("processors").asInt());
    }

    @Test
    void whatIsNotFiniteIsNull() {
        record Report(double a, Double b, double c) {}
        StringWriter out = new StringWriter();
        Json.print(new Report(Double.NaN, Double.POSITIVE_INFINITY, 1.5), new PrintWriter(out));
        assertEquals("{\"a\":null,\"b\":null,\"c\":1.5}", out.toString().strip());
    }
}
