package io.qlora.trainer;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.qlora.engine.memory.StepMemory;
import io.qlora.llama.LoadOptions;
import io.qlora.lora.LoraConfig;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What is said to a run that does not fit. */
class MemoryPlanTest {

    private static final long MIB = 1 << 20;

    /** A plan of so many mebibytes, of which 100 are available. */
    private static MemoryPlan plan(long weights, long adapter, long activations, long jvm) {
        long available = 100 * MIB;
        StepMemory.Sizes step = new StepMemory.Sizes(activations * MIB, 0, 0);
        return new MemoryPlan(
                "cpu", weights * MIB, adapter * MIB, 0, 0, step, 0, jvm * MIB, 1, available, available, 1, 1);
    }

    private static WayOut wayOut(MemoryPlan plan, LoadOptions.Quantization quantization, TrainingConfig training) {
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
        "50, 1, 60, 10, NF4, CHECKPOINTING",
        "70, 1, 60, 10, NF4, CHECKPOINTING",
        "70, 1, 60, 10, NONE, QUANTIZATION",
        "95, 1, 200, 10, NONE, QUANTIZATION",
        "5, 90, 6, 10, NF4, SMALLER_ADAPTER",
        "5, 1, 6, 99, NF4, FEWER_THREADS",
        "95, 1, 6, 10, NF4, MORE_MEMORY",
        "95, 1, 200, 10, NF4, MORE_MEMORY",
    })
    void whatIsNamedWouldHelp(
            long weights,
            long adapter,
            long activations,
            long jvm,
            LoadOptions.Quantization quantization,
            WayOut expected) {
        WayOut found = wayOut(
                plan(weights, adapter, activations, jvm),
                quantization,
                TrainingConfig.builder().build());
        assertEquals(expected, found);
    }

    @ParameterizedTest
    @CsvSource({"8, SMALLER_BATCHES", "1, SHORTER_DOCUMENTS"})
    void afterCheckpointingShorterBatchesHelp(int batchSize, WayOut expected) {
        WayOut found = wayOut(
                plan(50, 1, 60, 10),
                LoadOptions.Quantization.NF4,
                TrainingConfig.builder()
                        .gradientCheckpointing(true)
                        .batchSize(batchSize)
                        .build());
        assertEquals(expected, found);
    }
}
