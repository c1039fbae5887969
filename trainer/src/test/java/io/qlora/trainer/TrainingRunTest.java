package io.qlora.trainer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.qlora.engine.optim.LearningRate;
import io.qlora.engine.safetensors.SafetensorsFile;
import io.qlora.llama.LoadOptions;
import io.qlora.lora.LoraConfig;
import io.qlora.trainer.data.DataSet;
import io.qlora.trainer.data.Document;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Runs from files to files, on the tiny model of random weights. */
class TrainingRunTest {

    private static final Path MODEL = Path.of("../llama-loader/src/test/resources/models/tiny");

    @TempDir
    Path folder;

    private Path data;

    @BeforeEach
    void writeData() throws IOException {
        StringBuilder lines = new StringBuilder();
        for (int i = 0; i < 24; i++) {
            String word = "word" + (char) ('a' + i);
            lines.append("{\"instruction\": \"Repeat.\", \"input\": \"").append(word);
            lines.append("\", \"output\": \"")
                    .append(word)
                    .append(" ".repeat(i % 5))
                    .append("!\"}\n");
        }
        data = Files.writeString(folder.resolve("data.jsonl"), lines);
    }

    private static TrainingConfig.Builder training() {
        return TrainingConfig.builder()
                .learningRate(5e-3)
                .batchSize(2)
                .gradientAccumulationSteps(2)
                .maxSteps(8);
    }

    private RunOptions options(Path output, TrainingConfig config, double evalSplit, Path resume) {
        return options(MODEL, output, config, evalSplit, resume);
    }

    private RunOptions options(Path model, Path output, TrainingConfig config, double evalSplit, Path resume) {
        LoraConfig lora =
                LoraConfig.builder().r(4).loraAlpha(8).loraDropout(0.1).build();
        return new RunOptions(
                model,
                List.of(data),
                List.of(),
                evalSplit,
                output,
                0,
                true,
                lora,
                LoadOptions.defaults(),
                config,
                2,
                resume);
    }

    private Trainer.Outcome train(Path output, TrainingConfig config, Path resume, TrainingListener listener)
            throws IOException {
        return TrainingRun.prepare(options(output, config, 0, resume)).run(listener);
    }

    private static byte[] adapter(Path directory) throws IOException {
        return Files.readAllBytes(directory.resolve("adapter_model.safetensors"));
    }

    @Test
    void twiceTheSameRunGivesTheSameBytes() throws IOException {
        Path first = folder.resolve("first");
        Path second = folder.resolve("second");
        train(first, training().build(), null, new TrainingListener() {});
        train(second, training().build(), null, new TrainingListener() {});
        assertArrayEquals(adapter(first), adapter(second));
    }

    @Test
    void aRunThatDiedAndWasResumedEndsWithTheSameBytes() throws IOException {
        Path whole = folder.resolve("whole");
        train(whole, training().saveSteps(3).build(), null, new TrainingListener() {});
        Path died = folder.resolve("died");
        class Death extends RuntimeException {
            private static final long serialVersionUID = 1L;
        }
        assertThrows(
                Death.class,
                () -> train(died, training().saveSteps(3).build(), null, new TrainingListener() {
                    @Override
                    public void onStep(StepReport report) {
                        if (report.step() == 5) {
                            throw new Death();
                        }
                    }
                }));
        assertFalse(Files.exists(died.resolve("adapter_model.safetensors")));
        Trainer.Outcome outcome =
                train(died, training().saveSteps(3).build(), RunOptions.LATEST, new TrainingListener() {});
        assertEquals(8, outcome.steps());
        assertArrayEquals(adapter(whole), adapter(died));
        assertEquals(losses(whole), losses(died));
    }

    private static List<String> losses(Path output) throws IOException {
        List<String> losses = new ArrayList<>();
        for (JsonNode line : MetricsLog.read(output.resolve("metrics.jsonl"))) {
            losses.add(line.path("step") + " " + line.path("loss"));
        }
        return losses;
    }

    @Test
    void aRunThatIsToldToStopSavesAndCanGoOn() throws IOException {
        Path whole = folder.resolve("whole");
        train(whole, training().build(), null, new TrainingListener() {});
        Path stopped = folder.resolve("stopped");
        TrainingRun run = TrainingRun.prepare(options(stopped, training().build(), 0, null));
        Trainer.Outcome outcome = run.run(new TrainingListener() {
            @Override
            public void onStep(StepReport report) {
                if (report.step() == 4) {
                    run.requestStop();
                }
            }
        });
        assertTrue(outcome.stopped());
        assertEquals(4, outcome.steps());
        assertTrue(Files.exists(stopped.resolve("adapter_model.safetensors")));
        train(stopped, training().build(), RunOptions.LATEST, new TrainingListener() {});
        assertArrayEquals(adapter(whole), adapter(stopped));
    }

    @Test
    void aCheckpointOfAnotherRunIsRefused() throws IOException {
        Path output = folder.resolve("output");
        train(output, training().saveSteps(3).build(), null, new TrainingListener() {});
        IllegalArgumentException e = assertThrows(
                IllegalArgumentException.class,
                () -> train(
                        output,
                        training().saveSteps(3).learningRate(1e-3).build(),
                        RunOptions.LATEST,
                        new TrainingListener() {}));
        assertTrue(e.getMessage().contains(": was made with learningRate 0.005, this run has 0.001; "), e.getMessage());
    }

    @Test
    void whatIsSetIsNamedAndNotWhatFollowsFromIt() throws IOException {
        Path output = folder.resolve("output");
        train(output, training().saveSteps(3).build(), null, new TrainingListener() {});
        Path checkpoint = output.resolve("checkpoint-3");
        Map.of(
                        "maxSteps or numTrainEpochs", training().maxSteps(9),
                        "batchSize 2", training().maxSteps(0).batchSize(3),
                        "TrainingConfig.seed 42", training().seed(1))
                .forEach((named, config) -> {
                    RunOptions other = options(folder.resolve("other"), config.build(), 0, checkpoint);
                    Exception e = assertThrows(IllegalArgumentException.class, () -> TrainingRun.prepare(other));
                    assertTrue(e.getMessage().contains(named), e.getMessage());
                });
    }

    @Test
    void aCheckpointOfAnotherModelIsRefused() throws IOException {
        Path output = folder.resolve("output");
        TrainingConfig config = training().maxSteps(2).saveSteps(1).build();
        train(output, config, null, new TrainingListener() {});
        Path checkpoint = output.resolve("checkpoint-1");

        Path moved = copyOfModel("moved");
        TrainingRun.prepare(options(moved, folder.resolve("again"), config, 0, checkpoint));

        Path other = copyOfModel("other");
        Path shard = other.resolve("model-00002-of-00004.safetensors");
        byte[] bytes = Files.readAllBytes(shard);
        try (SafetensorsFile file = SafetensorsFile.open(shard)) {
            bytes[(int) file.entries().iterator().next().offset()] ^= 1;
        }
        Files.write(shard, bytes);
        RunOptions with = options(other, folder.resolve("again"), config, 0, checkpoint);
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> TrainingRun.prepare(with));
        assertEquals(
                checkpoint
                        + ": was made with another model, or this one has changed since; resume with the model it was"
                        + " begun with",
                e.getMessage());

        Path turned = copyOfModel("turned");
        Path settings = turned.resolve("config.json");
        Files.writeString(
                settings, Files.readString(settings).replaceAll("\"rms_norm_eps\": [^,]*", "\"rms_norm_eps\": 1e-3"));
        RunOptions otherwise = options(turned, folder.resolve("again"), config, 0, checkpoint);
        assertThrows(IllegalArgumentException.class, () -> TrainingRun.prepare(otherwise));
    }

    @Test
    void aCheckpointThatDoesNotKnowItsModelIsResumed() throws IOException {
        Path output = folder.resolve("output");
        TrainingConfig config = training().maxSteps(2).saveSteps(1).build();
        train(output, config, null, new TrainingListener() {});
        Path checkpoint = output.resolve("checkpoint-1");
        Path state = checkpoint.resolve("trainer_state.json");
        String old = Files.readString(state).replaceFirst("\"model_digest\": \"[0-9a-f]*\",", "");
        assertNotEquals(old, Files.readString(state));
        Files.writeString(state, old);
        assertEquals(
                2,
                train(folder.resolve("again"), config, checkpoint, new TrainingListener() {})
                        .steps());
    }

    private Path copyOfModel(String name) throws IOException {
        Path copy = Files.createDirectory(folder.resolve(name));
        try (Stream<Path> files = Files.list(MODEL)) {
            for (Path file : files.filter(Files::isRegularFile).toList()) {
                Files.copy(file, copy.resolve(file.getFileName()));
            }
        }
        return copy;
    }

    @Test
    void anOutputDirectoryThatHoldsSomethingIsLeftAlone() throws IOException {
        Path output = Files.createDirectory(folder.resolve("output"));
        Path precious = Files.writeString(output.resolve("precious"), "x");
        IllegalArgumentException e = assertThrows(
                IllegalArgumentException.class,
                () -> train(output, training().build(), null, new TrainingListener() {}));
        assertEquals(
                "output " + output + ": the directory is not empty; name another, or go on with resumeFromCheckpoint",
                e.getMessage());
        assertEquals("x", Files.readString(precious));
    }

    @Test
    void aStepThatIsNotFiniteStopsTheRunAndKeepsTheAdapterBeforeIt() throws IOException {
        Path output = folder.resolve("output");
        TrainingConfig config = training()
                .learningRate(1e30)
                .maxGradNorm(0)
                .scheduler(LearningRate.Schedule.CONSTANT_WITH_WARMUP) // from 0: the first step is good
                .warmupRatio(0.5)
                .build();
        NonFiniteException e =
                assertThrows(NonFiniteException.class, () -> train(output, config, null, new TrainingListener() {}));
        assertEquals(1, e.keptStep());
        assertTrue(e.getMessage().contains("the adapter is kept as it was after step 1"), e.getMessage());
        assertTrue(e.getMessage().startsWith("step " + e.step() + ": "), e.getMessage());
        assertTrue(e.getMessage().contains("not finite"), e.getMessage());
        try (FineTuner tuner = FineTuner.on(MODEL).adapter(output).open()) {
            tuner.adapter().parameters().forEach(parameter -> {
                for (float value : parameter.value().toFloats()) {
                    assertTrue(Float.isFinite(value), parameter.name());
                }
            });
        }
    }

    @Test
    void aRunWithoutAGoodStepLeavesNothingThatKeepsItFromBeingBegunAgain() throws IOException {
        Path output = folder.resolve("output");
        TrainingConfig bad = training().learningRate(1e30).maxGradNorm(0).build();
        NonFiniteException e =
                assertThrows(NonFiniteException.class, () -> train(output, bad, null, new TrainingListener() {}));
        assertEquals(0, e.keptStep());
        assertTrue(e.getMessage().contains("no step before it was good, there is nothing to keep"), e.getMessage());
        train(output, training().maxSteps(1).build(), null, new TrainingListener() {});
        assertTrue(Files.exists(output.resolve("adapter_model.safetensors")));
    }

    @Test
    void thePlanIsWhatTheRunTakes() throws IOException {
        Path output = folder.resolve("output");
        TrainingRun run = TrainingRun.prepare(options(output, training().build(), 4, null));
        long[] taken = new long[2];
        run.run(new TrainingListener() {
            @Override
            public void onLoaded(FineTuner tuner) {
                taken[0] = tuner.model().weightBytes();
            }
        });
        assertEquals(taken[0], run.plan().weights());
        assertEquals(run.plan().trainable() * 12, run.plan().adapter());
        assertEquals(run.plan().trainable() * 8, run.plan().optimizer());
        assertTrue(run.plan().activations() > 0);
    }

    @Test
    void anEvaluationSplitIsHeldOut() throws IOException {
        TrainingRun run =
                TrainingRun.prepare(options(folder.resolve("output"), training().build(), 0.25, null));
        assertEquals(18, run.train().size());
        assertEquals(6, run.eval().size());
        assertTrue(run.train().documents().stream().noneMatch(run.eval().documents()::contains));
    }

    @Test
    void theSeedDecidesWhatIsHeldOut() throws IOException {
        DataSet one = TrainingRun.prepare(
                        options(folder.resolve("a"), training().build(), 6, null))
                .eval();
        DataSet again = TrainingRun.prepare(
                        options(folder.resolve("a"), training().build(), 6, null))
                .eval();
        DataSet other = TrainingRun.prepare(
                        options(folder.resolve("a"), training().seed(43).build(), 6, null))
                .eval();
        assertEquals(one.digest(), again.digest());
        assertNotEquals(one.digest(), other.digest());
    }

    /** The micro-batch that takes most may be the one with most tokens, or that with most to predict. */
    @Test
    void thePlanIsOfTheLargestMicroBatchOfEitherKind() throws IOException {
        String longest = "x ".repeat(99);
        String shorter = "x ".repeat(98);
        Files.writeString(
                data, "{\"prompt\": \"" + longest + "\", \"completion\": \"y\"}\n{\"text\": \"" + shorter + "\"}\n");
        RunOptions options =
                options(folder.resolve("out"), training().batchSize(1).build(), 0, null);
        TrainingRun run = TrainingRun.prepare(options);
        Document given = run.train().documents().get(0);
        Document learnt = run.train().documents().get(1);
        assertTrue(given.length() > learnt.length() && given.targetCount() < learnt.targetCount());
        try (FineTuner tuner =
                        FineTuner.on(MODEL).lora(options.lora()).threads(2).open();
                Trainer trainer = new Trainer(tuner.model(), tuner.adapter().parameters(), options.training())) {
            trainer.memory().reserve(run.plan().step());
            trainer.train(run.train(), null, new TrainingListener() {});
            assertEquals(run.plan().step(), trainer.memory().needed());
            assertEquals(run.plan().activations(), trainer.memory().capacity());
        }
    }

    @Test
    void thousandsOfMicroBatchesAreAStepOfAllDocuments() throws IOException {
        int most = Integer.MAX_VALUE / 2;
        TrainingConfig config = TrainingConfig.builder()
                .batchSize(2)
                .gradientAccumulationSteps(most)
                .build();
        assertEquals(
                3,
                TrainingRun.prepare(options(folder.resolve("out"), config, 0, null))
                        .totalSteps());
    }
}
