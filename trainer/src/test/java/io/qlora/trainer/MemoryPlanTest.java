package io.qlora.trainer;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.llama.LoadOptions;
import io.qlora.lora.LoraConfig;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What is said to a run that does not fit. */
class MemoryPlanTest {

    /** A plan of so many bytes, of which 100 are available. */
    private static MemoryPlan plan(long weights, long adapter, long activations, long jvm) {
        return new MemoryPlan("cpu", weights, adapter, 0, activations, 0, 0, jvm, 100, 100, 1, 1);
    }

    private static String wayOut(MemoryPlan plan, LoadOptions.Quantization quantization, TrainingConfig training) {
        return plan.wayOut(new RunOptions(
                Path.of("model"),
                List.of(Path.of("data")),
                List.of(),
                0,
                Path.of("output"),
                0,
                true,
                LoraConfig.builder().build(),
                LoadOptions.builder().quantization(quantization).build(),
                training,
                1,
                null));
    }

    @ParameterizedTest
    @CsvSource({
        "50, 1, 60, 10, NF4, --gradient-checkpointing",
        "70, 1, 60, 10, NF4, --gradient-checkpointing",
        "70, 1, 60, 10, NONE, --quantization nf4",
        "95, 1, 200, 10, NONE, --quantization nf4",
        "5, 90, 6, 10, NF4, --lora-r",
        "5, 1, 6, 99, NF4, --threads",
        "95, 1, 6, 10, NF4, a machine with more memory",
        "95, 1, 200, 10, NF4, a machine with more memory",
    })
    void whatIsNamedWouldHelp(
            long weights,
            long adapter,
            long activations,
            long jvm,
            LoadOptions.Quantization quantization,
            String expected) {
        String found = wayOut(
                plan(weights, adapter, activations, jvm),
                quantization,
                TrainingConfig.builder().build());
        assertTrue(found.contains(expected), found);
    }

    @ParameterizedTest
    @CsvSource({"8, a smaller --per-device-train-batch-size", "1, a smaller --max-length"})
    void afterCheckpointingShorterBatchesHelp(int batchSize, String expected) {
        String found = wayOut(
                plan(50, 1, 60, 10),
                LoadOptions.Quantization.NF4,
                TrainingConfig.builder()
                        .gradientCheckpointing(true)
                        .batchSize(batchSize)
                        .build());
        assertTrue(found.contains(expected), found);
    }
}
