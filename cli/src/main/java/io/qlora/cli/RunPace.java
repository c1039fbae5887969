package io.qlora.cli;

import io.qlora.trainer.StepReport;
import java.util.OptionalDouble;

/** How fast a run goes, and how long it still takes: its steps, and the evaluations between them. */
final class RunPace {

    private final int evalSteps;
    private final Pace steps = new Pace();
    private volatile double evaluation; // seconds of one

    /**
     * Nothing is done.
     *
     * @param evalSteps steps between two evaluations; 0 for one at the end
     */
    RunPace(int evalSteps) {
        this.evalSteps = evalSteps;
    }

    void add(StepReport step) {
        steps.add(step.tokens(), step.seconds());
    }

    /** An evaluation was made, and one at its last pace takes {@code seconds}. */
    void addEvaluation(double seconds) {
        evaluation = seconds;
    }

    OptionalDouble tokensPerSecond() {
        return steps.amountPerSecond();
    }

    /** Seconds from {@code step} on, just done, to the end of the run; empty before the second step. From any thread. */
    OptionalDouble left(long step, long totalSteps) {
        OptionalDouble each = steps.secondsPerPart();
        return each.isPresent()
                ? OptionalDouble.of(
                        (totalSteps - step) * each.getAsDouble() + evaluationsFrom(step, totalSteps) * evaluation)
                : each;
    }

    private long evaluationsFrom(long step, long totalSteps) {
        long between = evalSteps == 0 ? 0 : (totalSteps - 1) / evalSteps - (step - 1) / evalSteps;
        return between + 1;
    }
}
