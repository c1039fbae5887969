package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.qlora.trainer.MetricsLog;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code qlora train}, on the tiny model. */
class TrainCommandTest {

    @TempDir
    Path folder;

    private Path data;

    @BeforeEach
    void write() throws IOException {
        data = TinyModel.data(folder.resolve("data.jsonl"), 6);
    }

    private Cli.Result train(Path output, Object... options) {
        Cli.Result result = Cli.train(
                TinyModel.DIRECTORY,
                data,
                output,
                "--lora-r 2 --per-device-train-batch-size 2 --learning-rate 1e-2",
                options);
        assertEquals(0, result.status(), result.err());
        return result;
    }

    private static byte[] adapter(Path output) throws IOException {
        return Files.readAllBytes(output.resolve("adapter_model.safetensors"));
    }

    @Test
    void aRateOfZeroIsSaidToLearnNothing() {
        for (String rate : List.of("0", "1e-4")) {
            Cli.Result result = Cli.run(
                    "train",
                    "--model",
                    TinyModel.DIRECTORY,
                    "--data",
                    data,
                    "--output",
                    folder.resolve(rate),
                    "--max-steps",
                    1,
                    "--learning-rate",
                    rate);
            assertEquals(0, result.status(), result.err());
            boolean said = (result.out() + result.err()).contains("with --learning-rate 0 nothing is learnt");
            assertEquals(rate.equals("0"), said, result.err());
        }
    }

    @Test
    void theRateRisesToAConstantWhereThatIsAskedFor() throws IOException {
        Path output = folder.resolve("constant");
        train(output, "--max-steps", 4, "--lr-scheduler-type", "constant_with_warmup", "--warmup-ratio", 0.5);
        List<Double> rates = MetricsLog.read(output.resolve("metrics.jsonl")).stream()
                .map(line -> line.path("learning_rate").asDouble())
                .toList();
        assertEquals(List.of(0.0, 5e-3, 1e-2, 1e-2), rates);
    }

    @Test
    void theLastCheckpointIsResumedWithoutBeingNamed() throws IOException {
        Path whole = folder.resolve("whole");
        train(whole, "--max-steps", 4, "--save-steps", 2);
        Path again = folder.resolve("again");
        Path checkpoint = again.resolve("checkpoint-2");
        TinyModel.copy(whole.resolve("checkpoint-2"), checkpoint);
        Cli.Result resumed = train(again, "--max-steps", 4, "--save-steps", 2, "--resume-from-checkpoint");
        assertArrayEquals(adapter(whole), adapter(again));
        assertTrue(resumed.out().contains("resume   " + checkpoint + ", from step 3 of 4"), resumed.out());
        assertTrue(
                resumed.out().lines().anyMatch(line -> line.matches("trained steps 3 to 4 in \\d+:\\d\\d")),
                resumed.out());

        Cli.Result done = train(again, "--max-steps", 4, "--save-steps", 2, "--resume-from-checkpoint");
        assertTrue(done.out().contains("checkpoint-4, after the last of 4 steps"), done.out());
        assertTrue(done.out().contains("nothing was left to train: all 4 steps were done"), done.out());

        Path elsewhere = folder.resolve("elsewhere");
        train(elsewhere, "--max-steps", 4, "--save-steps", 2, "--resume-from-checkpoint", checkpoint);
        assertArrayEquals(adapter(whole), adapter(elsewhere));
    }

    @Test
    void aFinishedRunCanBeResumedAndStaysAsItIs() throws IOException {
        Path output = folder.resolve("out");
        Cli.Result first = train(output, "--max-steps", 2, "--save-steps", 2, "--eval-split", 2, "--json");
        byte[] before = adapter(output);
        Cli.Result again = train(
                output, "--max-steps", 2, "--save-steps", 2, "--eval-split", 2, "--resume-from-checkpoint", "--json");
        assertArrayEquals(before, adapter(output));
        for (String loss : List.of("train_loss", "eval_loss_before", "eval_loss", "eval_target_tokens")) {
            assertTrue(first.json().get(loss).isNumber(), first.out());
            assertEquals(first.json().get(loss), again.json().get(loss), loss);
        }
    }

    @Test
    void targetModulesAreNamedInAnyOfPeftsWays() throws IOException {
        List<String> both = List.of("q_proj", "v_proj");
        assertEquals(both, targets("--target-modules", "q_proj", "v_proj"));
        assertEquals(both, targets("--target-modules", "v_proj,q_proj"));
        assertEquals(both, targets("--target-modules=q_proj,v_proj"));
        assertEquals(both, targets("--target-modules", "q_proj", "--target-modules", "v_proj"));
        assertEquals(".*\\.[qv]_proj", regex("--target-modules", ".*\\.[qv]_proj"));
        assertEquals(7, targets("--target-modules", "all-linear").size());
        assertEquals(7, targets().size());
    }

    private List<String> targets(Object... options) throws IOException {
        return StreamSupport.stream(config(options).get("target_modules").spliterator(), false)
                .map(JsonNode::asText)
                .sorted()
                .toList();
    }

    private String regex(Object... options) throws IOException {
        return config(options).get("target_modules").asText();
    }

    private JsonNode config(Object... options) throws IOException {
        Path output = Files.createTempDirectory(folder, "run").resolve("out");
        List<Object> all = new ArrayList<>(List.of("--max-steps", 1));
        all.addAll(Arrays.asList(options));
        train(output, all.toArray());
        return new ObjectMapper().readTree(output.resolve("adapter_config.json").toFile());
    }

    @Test
    void withoutATerminalThereIsALineEverySoOften() {
        Cli.Result result = train(folder.resolve("out"), "--max-steps", 5, "--logging-steps", 2, "--eval-split", 2);
        assertEquals(
                List.of("step 1/5", "step 2/5", "step 4/5", "step 5/5"),
                result.out()
                        .lines()
                        .filter(line -> line.startsWith("step "))
                        .map(line -> line.substring(0, 8))
                        .toList());
        assertTrue(
                result.out().lines().anyMatch(line -> line.matches("eval     of \\d+ tokens has begun")), result.out());
        assertTrue(result.out().lines().anyMatch(line -> line.startsWith("eval at step 0  ")), result.out());
        assertTrue(result.out().lines().anyMatch(line -> line.startsWith("eval at step 5  ")), result.out());
        assertFalse(result.out().contains("\r"), "a progress bar where there is no terminal");
        assertEquals("", result.err());
    }

    @Test
    void theFirstLinesSayWhatRunsWhereBeforeItRuns() {
        String out =
                train(folder.resolve("out"), "--max-steps", 1, "--threads", 2).out();
        int first = out.indexOf("model    ");
        String machine = out.substring(0, first).strip().replaceAll("\\s+", " ");
        assertTrue(
                machine.matches(
                        "qlora JDK [\\d.]+, 2 threads, (\\d+-bit|no) vectors.*, (no GPU: .*|not used: .* \\(--device cuda\\))"),
                machine);
        List<String> lines = out.substring(first).lines().toList();
        assertEquals("model    tiny, 357,792 parameters, linears in nf4, double quantised", lines.get(0));
        assertTrue(lines.get(1).matches("data     6 documents, [\\d,]+ tokens, [\\d,]+ targets"), lines.get(1));
        assertEquals("adapter  LoRA of rank 2, 9,936 parameters (2.78 %), 1 step of 2 documents", lines.get(2));
        assertTrue(lines.get(3).matches("memory   \\S+ MiB of \\S+ [KMG]iB available: weights .*"), lines.get(3));
        assertTrue(lines.get(4).matches(" {9}optimizer .*, activations .*, JVM .*"), lines.get(4));
    }

    @Test
    void moreThreadsThanProcessorsAreRemarkedOnOnce() {
        int processors = Runtime.getRuntime().availableProcessors();
        for (int threads : List.of(processors, processors + 1)) {
            String out = train(folder.resolve("out" + threads), "--max-steps", 1, "--threads", threads)
                    .out();
            long remarks = out.lines()
                    .filter(line -> line.startsWith("         --threads " + threads + ", processors " + processors))
                    .count();
            assertEquals(threads > processors ? 1 : 0, remarks, out);
        }
    }

    @Test
    void whatIsLeftIsAPeftDirectoryWithMetricsAndAPicture() throws IOException {
        Path output = folder.resolve("out");
        train(output, "--max-steps", 2, "--eval-split", 1);
        for (String file : List.of("adapter_config.json", "adapter_model.safetensors", "README.md", "loss.svg")) {
            assertTrue(Files.size(output.resolve(file)) > 100, file);
        }
        assertEquals(4, Files.readAllLines(output.resolve("metrics.jsonl")).size());
    }
}
