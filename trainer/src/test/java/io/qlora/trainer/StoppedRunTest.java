package io.qlora.trainer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.qlora.llama.LoadOptions;
import io.qlora.lora.LoraConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** When a run is told to stop, and what it then leaves. */
class StoppedRunTest {

    private static final Path MODEL = Path.of("../llama-loader/src/test/resources/models/tiny");

    @TempDir
    Path folder;

    private Path output;
    private TrainingRun run;
    private final List<Long> evaluations = new ArrayList<>();
    private final List<Long> calledOff = new ArrayList<>();

    @BeforeEach
    void prepare() throws IOException {
        output = folder.resolve("out");
        Files.writeString(folder.resolve("data.jsonl"), "{\"prompt\": \"Say a.\", \"completion\": \" a\"}\n".repeat(8));
        run = prepare(output, null);
    }

    private TrainingRun prepare(Path directory, Path checkpoint) throws IOException {
        TrainingConfig training =
                TrainingConfig.builder().batchSize(1).maxSteps(6).evalSteps(2).build();
        return TrainingRun.prepare(new RunOptions(
                MODEL,
                List.of(folder.resolve("data.jsonl")),
                List.of(),
                4,
                directory,
                0,
                true,
                LoraConfig.builder().r(2).build(),
                LoadOptions.defaults(),
                training,
                1,
                checkpoint));
    }

    /** Asks to stop as soon as a step is done. */
    private final class StopAfter implements TrainingListener {
        private final long step;

        StopAfter(long step) {
            this.step = step;
        }

        @Override
        public void onStep(StepReport report) {
            if (report.step() == step) {
                run.requestStop();
            }
        }

        @Override
        public void onEvaluation(long at, Evaluation evaluation) {
            evaluations.add(at);
        }

        @Override
        public void onEvaluationCalledOff(long at) {
            calledOff.add(at);
        }
    }

    @Test
    void beforeItsFirstStepItLeavesNothing() throws IOException {
        run.requestStop();
        Trainer.Outcome outcome = run.run(new StopAfter(9));
        assertEquals(new Trainer.Outcome(0, true), outcome);
        assertEquals(List.of(), evaluations);
        try (var files = Files.list(output)) {
            assertEquals(List.of(), files.toList());
        }
    }

    @Test
    void anEvaluationThatIsDueIsSkipped() throws IOException {
        Trainer.Outcome outcome = run.run(new StopAfter(2));
        assertEquals(new Trainer.Outcome(2, true), outcome);
        assertEquals(List.of(0L), evaluations);
        assertTrue(Files.exists(output.resolve("adapter_model.safetensors")));
        assertTrue(Files.exists(output.resolve("checkpoint-2")));
    }

    @Test
    void afterItsLastStepOnlyTheEvaluationIsLeft() throws IOException {
        Trainer.Outcome outcome = run.run(new StopAfter(6));
        assertEquals(new Trainer.Outcome(6, true), outcome);
        assertEquals(List.of(0L, 2L, 4L), evaluations);
        assertEquals(List.of(6L), calledOff);
        assertTrue(Files.exists(output.resolve("adapter_model.safetensors")));
        assertTrue(Files.exists(output.resolve("checkpoint-6")));
    }

    @ParameterizedTest
    @ValueSource(longs = {2, 3, 4, 6})
    void whatIsResumedEndsAsIfItHadNeverBeenStopped(long step) throws IOException {
        Path whole = folder.resolve("whole");
        assertEquals(new Trainer.Outcome(6, false), prepare(whole, null).run(new TrainingListener() {}));
        run.run(new StopAfter(step));
        assertEquals(step % 2 == 0 ? List.of(step) : List.of(), calledOff);

        Trainer.Outcome outcome = prepare(output, RunOptions.LATEST).run(new TrainingListener() {});
        assertEquals(new Trainer.Outcome(6, false), outcome);
        assertEquals(metrics(whole), metrics(output));
        for (String file : List.of("adapter_model.safetensors", "adapter_config.json")) {
            assertEquals(-1, Files.mismatch(whole.resolve(file), output.resolve(file)), file);
        }
    }

    @Test
    void anEvaluationTellsHowItGoesOnAndIsCalledOffBetweenBatches() throws IOException {
        List<Long> told = new ArrayList<>();
        long all = run.eval().tokens();
        Trainer.Outcome outcome = run.run(new TrainingListener() {
            @Override
            public void onEvaluating(long tokens, long allTokens) {
                assertEquals(all, allTokens);
                told.add(tokens);
                if (told.size() == 7) {
                    run.requestStop();
                }
            }
        });
        assertEquals(new Trainer.Outcome(2, true), outcome);
        assertEquals(List.of(0L, all / 4, all / 2, all - all / 4, all, 0L, all / 4), told);
    }

    @Test
    void whatWasMeasuredIsNotMeasuredAgain() throws IOException {
        run.run(new StopAfter(6));
        prepare(output, RunOptions.LATEST).run(new StopAfter(9));
        prepare(output, RunOptions.LATEST).run(new StopAfter(9));
        assertEquals(List.of(0L, 2L, 4L, 6L), evaluations);
    }

    /** The lines of a log, but for how long it took. */
    private static List<JsonNode> metrics(Path directory) throws IOException {
        List<JsonNode> lines = MetricsLog.read(directory.resolve("metrics.jsonl"));
        lines.forEach(line -> ((ObjectNode) line).remove("seconds"));
        return lines;
    }
}
