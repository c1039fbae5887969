package io.qlora.trainer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import io.qlora.engine.optim.LearningRate;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

class TrainingConfigTest {

    /** As transformers counts: in floating point, in which 0.07 · 100 is a little more than 7. */
    @ParameterizedTest
    @CsvSource({"3, 10, 30", "0.5, 5, 3", "0.7, 10, 7", "1.4, 5, 7", "1.1, 10, 11", "0.07, 100, 8"})
    void aPartOfAnEpochIsRoundedUpToWholeSteps(double epochs, int stepsPerEpoch, int steps) {
        TrainingConfig config = TrainingConfig.builder().numTrainEpochs(epochs).build();
        assertEquals(steps, config.totalSteps(stepsPerEpoch));
    }

    static Stream<Arguments> wrong() {
        return Stream.of(
                arguments(
                        "learningRate should be a number from 0, found -1.0",
                        TrainingConfig.builder().learningRate(-1)),
                arguments(
                        "warmupRatio should be 0 where scheduler is constant, which has no warm-up"
                                + " (constant_with_warmup has), found 0.5",
                        TrainingConfig.builder().warmupRatio(0.5).scheduler(LearningRate.Schedule.CONSTANT)),
                arguments(
                        "batchSize should be at least 1, found 0",
                        TrainingConfig.builder().batchSize(0)),
                arguments(
                        "gradientAccumulationSteps should be at most 268435455, since a step has batchSize 8 times as"
                                + " many documents, found 2147483647",
                        TrainingConfig.builder().gradientAccumulationSteps(Integer.MAX_VALUE)),
                arguments(
                        "offloadActivations moves what gradientCheckpointing keeps: give both, or neither",
                        TrainingConfig.builder().offloadActivations(true)));
    }

    /** As the builder has it: an application has no options. */
    @ParameterizedTest
    @MethodSource("wrong")
    void whatIsWrongIsNamed(String expected, TrainingConfig.Builder builder) {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, builder::build);
        assertEquals(expected, e.getMessage());
    }
}
