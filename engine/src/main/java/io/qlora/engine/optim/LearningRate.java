package io.qlora.engine.optim;

/**
 * How the learning rate changes over a run, as transformers' {@code get_*_schedule_with_warmup}: from 0 up to its peak in
 * equal steps, then by the schedule; {@link Schedule#CONSTANT} alone has no way up.
 *
 * @param schedule what comes after the warm-up
 * @param peak the highest rate
 * @param warmupSteps steps before the peak, the first of them at rate 0
 * @param totalSteps steps of the whole run, where the linear and the cosine schedule reach 0
 */
public record LearningRate(Schedule schedule, double peak, long warmupSteps, long totalSteps) {

    /** What comes after the warm-up. */
    public enum Schedule {
        /** The peak from the first step to the last: as in transformers, without a warm-up, whatever is asked for. */
        CONSTANT,
        /** The peak to the end. */
        CONSTANT_WITH_WARMUP,
        /** In a straight line to 0. */
        LINEAR,
        /** Along half a cosine to 0. */
        COSINE
    }

    public LearningRate {
        if (!(peak >= 0 && peak < Double.POSITIVE_INFINITY)) {
            throw new IllegalArgumentException("learning rate should be a number from 0 up, found " + peak);
        }
        if (warmupSteps < 0 || totalSteps < 0) {
            throw new IllegalArgumentException(
                    "steps should be 0 or more, found " + warmupSteps + " of warm-up and " + totalSteps + " in all");
        }
    }

    /**
     * A warm-up of a share of the run, rounded up to whole steps.
     *
     * @param warmupRatio from 0 to 1
     */
    public static LearningRate of(Schedule schedule, double peak, double warmupRatio, long totalSteps) {
        if (!(warmupRatio >= 0 && warmupRatio <= 1)) {
            throw new IllegalArgumentException("warm-up ratio should be from 0 to 1, found " + warmupRatio);
        }
        return new LearningRate(schedule, peak, (long) Math.ceil(totalSteps * warmupRatio), totalSteps);
    }

    /**
     * The rate of a step.
     *
     * @param step the number of steps before it: 0 for the first
     */
    public double at(long step) {
        boolean rising = schedule != Schedule.CONSTANT && step < warmupSteps;
        return peak * (rising ? (double) step / warmupSteps : afterWarmup(step));
    }

    private double afterWarmup(long step) {
        double length = Math.max(1, totalSteps - warmupSteps);
        return switch (schedule) {
            case CONSTANT, CONSTANT_WITH_WARMUP -> 1;
            case LINEAR -> Math.max(0, (totalSteps - step) / length);
            case COSINE -> Math.max(0, 0.5 * (1 + StrictMath.cos(Math.PI * (step - warmupSteps) / length)));
        };
    }
}
