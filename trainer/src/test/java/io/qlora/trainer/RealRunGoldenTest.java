package io.qlora.trainer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.qlora.llama.LoadOptions;
import io.qlora.lora.LoraConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A run on a real model and real data, where those are beside the project: 150 steps on instructions, which the reference
 * stack (QLoRA, NF4 and double quantisation, float32) takes from 5.33 to 2.57 nats per target token.
 */
class RealRunGoldenTest {

    private static final Path SHARED = Path.of(System.getProperty("qlora.root", ".."), "../shared");

    @TempDir
    Path folder;

    @Test
    void learnsInstructionsAsTheReferenceDoes() throws IOException {
        Path model = SHARED.resolve("models/stories260K");
        Path train = SHARED.resolve("data/rasbt_instructions_train.jsonl");
        Path eval = SHARED.resolve("data/rasbt_instructions_val.jsonl");
        for (Path needed : List.of(model, train, eval)) {
            assumeTrue(Files.exists(needed), needed + " is not there: nothing to compare a run on real data with");
        }
        TrainingConfig config = TrainingConfig.builder()
                .learningRate(5e-3)
                .batchSize(8)
                .maxSteps(150)
                .build();
        LoraConfig lora = LoraConfig.builder().r(8).loraAlpha(16).build();
        RunOptions options = new RunOptions(
                model,
                List.of(train),
                List.of(eval),
                0,
                folder.resolve("output"),
                0,
                true,
                lora,
                LoadOptions.defaults(),
                config,
                2,
                null);
        List<Evaluation> evaluations = new ArrayList<>();
        TrainingRun.prepare(options).run(new TrainingListener() {
            @Override
            public void onEvaluation(long step, Evaluation evaluation) {
                evaluations.add(evaluation);
            }
        });
        assertEquals(1768, evaluations.getFirst().targets());
        assertEquals(5.33, evaluations.getFirst().nll(), 0.01);
        assertTrue(
                evaluations.getLast().nll() <= 2.65,
                "ended at " + evaluations.getLast().nll());
    }
}
