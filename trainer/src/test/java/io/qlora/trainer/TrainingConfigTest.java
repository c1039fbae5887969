package io.qlora.trainer;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TrainingConfigTest {

    /** As transformers counts: in floating point, in which 0.07 · 100 is a little more than 7. */
    @ParameterizedTest
    @CsvSource({"3, 10, 30", "0.5, 5, 3", "0.7, 10, 7", "1.4, 5, 7", "1.1, 10, 11", "0.07, 100, 8"})
    void aPartOfAnEpochIsRoundedUpToWholeSteps(double epochs, int stepsPerEpoch, int steps) {
        TrainingConfig config = TrainingConfig.builder().numTrainEpochs(epochs).build();
        assertEquals(steps, config.totalSteps(stepsPerEpoch));
    }
}
