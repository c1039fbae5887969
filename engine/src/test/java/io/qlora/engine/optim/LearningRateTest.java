package io.qlora.engine.optim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.qlora.engine.optim.LearningRate.Schedule;
import java.util.EnumSet;
import org.junit.jupiter.api.Test;

class LearningRateTest {

    private static LearningRate rate(Schedule schedule) {
        return new LearningRate(schedule, 2.0, 10, 110);
    }

    @Test
    void theFirstStepOfAWarmupIsAtZeroAndThePeakIsReachedAfterIt() {
        for (Schedule schedule : EnumSet.complementOf(EnumSet.of(Schedule.CONSTANT))) {
            assertEquals(0, rate(schedule).at(0));
            assertEquals(1, rate(schedule).at(5));
            assertEquals(1.8, rate(schedule).at(9), 1e-15);
            assertEquals(2, rate(schedule).at(10));
        }
    }

    // In transformers, constant_with_warmup is a kind of its own.
    @Test
    void constantHasNoWarmup() {
        for (int step : new int[] {0, 5, 9, 10, 109}) {
            assertEquals(2, rate(Schedule.CONSTANT).at(step));
        }
    }

    @Test
    void afterwardsItFollowsItsSchedule() {
        assertEquals(2, rate(Schedule.CONSTANT_WITH_WARMUP).at(109));
        assertEquals(1.5, rate(Schedule.LINEAR).at(35));
        assertEquals(0.02, rate(Schedule.LINEAR).at(109), 1e-15);
        assertEquals(0, rate(Schedule.LINEAR).at(110));
        assertEquals(1 + Math.sqrt(0.5), rate(Schedule.COSINE).at(35), 1e-15);
        assertEquals(1, rate(Schedule.COSINE).at(60), 1e-15);
        assertEquals(0, rate(Schedule.COSINE).at(110));
    }

    @Test
    void neverGoesBelowZeroPastTheEnd() {
        assertEquals(0, rate(Schedule.LINEAR).at(200));
        assertEquals(0, new LearningRate(Schedule.LINEAR, 1, 0, 0).at(1));
    }

    @Test
    void withoutWarmupTheFirstStepIsAtThePeak() {
        for (Schedule schedule : Schedule.values()) {
            assertEquals(5e-3, new LearningRate(schedule, 5e-3, 0, 150).at(0));
        }
        assertEquals(5e-3 / 150, new LearningRate(Schedule.LINEAR, 5e-3, 0, 150).at(149), 1e-18);
    }

    @Test
    void aWarmupRatioIsRoundedUpToWholeSteps() {
        assertEquals(5, LearningRate.of(Schedule.COSINE, 1, 0.03, 150).warmupSteps());
        assertEquals(0, LearningRate.of(Schedule.COSINE, 1, 0, 150).warmupSteps());
        assertEquals(1, LearningRate.of(Schedule.COSINE, 1, 1e-9, 150).warmupSteps());
    }

    @Test
    void refusesWhatIsNoRate() {
        assertThrows(IllegalArgumentException.class, () -> new LearningRate(Schedule.LINEAR, Double.NaN, 0, 1));
        assertThrows(IllegalArgumentException.class, () -> new LearningRate(Schedule.LINEAR, -1, 0, 1));
        assertThrows(IllegalArgumentException.class, () -> new LearningRate(Schedule.LINEAR, 1, -1, 1));
        assertThrows(IllegalArgumentException.class, () -> LearningRate.of(Schedule.LINEAR, 1, 1.5, 1));
    }
}
