package io.qlora.trainer;

import java.nio.file.Path;

/** Is told what a run does, on the thread that trains, between two steps or batches. */
public interface TrainingListener {

    /** Model and adapter are loaded; they may be looked at, and the model asked, until training goes on. */
    default void onLoaded(FineTuner tuner) {}

    /** A step is done. */
    default void onStep(StepReport report) {}

    /**
     * An evaluation has begun, with 0 tokens, or has done a batch.
     *
     * @param tokens that have been read
     * @param allTokens to be read
     */
    default void onEvaluating(long tokens, long allTokens) {}

    /**
     * An evaluation is done.
     *
     * @param step after which it was made; 0 before the first
     */
    default void onEvaluation(long step, Evaluation evaluation) {}

    /** An evaluation was due after a step, and was not made or not finished: the run is to stop. A resumed one makes it. */
    default void onEvaluationCalledOff(long step) {}

    /** A checkpoint was written. */
    default void onCheckpoint(long step, Path directory) {}

    /** Tells both of everything. */
    default TrainingListener and(TrainingListener other) {
        TrainingListener first = this;
        return new TrainingListener() {
            @Override
            public void onLoaded(FineTuner tuner) {
                first.onLoaded(tuner);
                other.onLoaded(tuner);
            }

            @Override
            public void onStep(StepReport report) {
                first.onStep(report);
                other.onStep(report);
            }

            @Override
            public void onEvaluating(long tokens, long allTokens) {
                first.onEvaluating(tokens, allTokens);
                other.onEvaluating(tokens, allTokens);
            }

            @Override
            public void onEvaluation(long step, Evaluation evaluation) {
                first.onEvaluation(step, evaluation);
                other.onEvaluation(step, evaluation);
            }

            @Override
            public void onEvaluationCalledOff(long step) {
                first.onEvaluationCalledOff(step);
                other.onEvaluationCalledOff(step);
            }

            @Override
            public void onCheckpoint(long step, Path directory) {
                first.onCheckpoint(step, directory);
                other.onCheckpoint(step, directory);
            }
        };
    }
}
