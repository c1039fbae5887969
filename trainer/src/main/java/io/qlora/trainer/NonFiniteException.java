package io.qlora.trainer;

/** Training or evaluation met a number that is not finite. The parameters are the last that gave finite ones. */
public final class NonFiniteException extends RuntimeException {

    private static final long serialVersionUID = 1L;

    private final long step;
    private final long keptStep;

    private NonFiniteException(String message, long step, long keptStep) {
        super(message);
        this.step = step;
        this.keptStep = keptStep;
    }

    /**
     * What was met: the loss, and the first tensor on the way to it.
     *
     * @param frozen whether that is a weight of the model that is not trained
     */
    record Finding(double loss, String tensor, boolean frozen) {
        @Override
        public String toString() {
            return "the loss is " + loss + " and the first tensor that is not finite is " + tensor;
        }
    }

    /**
     * A step failed.
     *
     * @param step counted from 1
     * @param keptStep the step whose parameters are kept; 0 for those the run began with
     */
    static NonFiniteException inStep(long step, long keptStep, Finding finding) {
        return inTraining("step " + step, step, keptStep, finding);
    }

    /** The evaluation after a step failed. */
    static NonFiniteException inEvaluationAfter(long step, long keptStep, Finding finding) {
        return inTraining("evaluation after step " + step, step, keptStep, finding);
    }

    private static NonFiniteException inTraining(String when, long step, long keptStep, Finding finding) {
        String kept = keptStep == 0
                ? "no step before it was good, there is nothing to keep"
                : "the adapter is kept as it was after step " + keptStep;
        String wayOut = finding.frozen
                ? "the weights of the model are damaged: get them again"
                : "lower learningRate, or look at the data of this step";
        return new NonFiniteException(when + ": " + finding + "; " + kept + "; " + wayOut, step, keptStep);
    }

    /** An evaluation failed in which nothing had been trained. */
    static NonFiniteException inEvaluation(Finding finding) {
        return new NonFiniteException(
                "evaluation: " + finding + "; the weights of the model or the adapter are damaged: get them again",
                0,
                0);
    }

    /** The optimizer step, counted from 1; 0 if nothing had been trained. */
    public long step() {
        return step;
    }

    /** The step whose parameters are kept; 0 for those it began with. */
    public long keptStep() {
        return keptStep;
    }
}
