package io.qlora.trainer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

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

/** When a run is told to stop, and what it then leaves. */
class StoppedRunTest {

    private static final Path MODEL = Path.of("../llama-loader/src/test/resources/models/tiny");

    @TempDir
    Path folder;

    private Path output;
    private TrainingRun run;
    private final List<Long> evaluations = new ArrayList<>();

    @BeforeEach
    void prepare() throws IOException {
        output = folder.resolve("out");
        Path data = Files.writeString(
                folder.resolve("data.jsonl"), "{\"prompt\": \"Say a.\", \"completion\": \" a\"}\n".repeat(8));
        TrainingConfig training =
                TrainingConfig.builder().batchSize(1).maxSteps(6).evalSteps(2).build();
        run = TrainingRun.prepare(new RunOptions(
                MODEL,
                List.of(data),
                List.of(),
                4,
                output,
                0,
                true,
                LoraConfig.builder().r(2).build(),
                LoadOptions.defaults(),
                training,
                1,
                null));
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
    void afterItsLastStepItIsDone() throws IOException {
        Trainer.Outcome outcome = run.run(new StopAfter(6));
        assertEquals(new Trainer.Outcome(6, false), outcome);
        assertEquals(List.of(0L, 2L, 4L), evaluations);
        assertTrue(Files.exists(output.resolve("adapter_model.safetensors")));
        assertFalse(Files.exists(output.resolve("checkpoint-6")));
    }
}
