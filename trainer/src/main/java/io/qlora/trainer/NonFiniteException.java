package io.qlora.trainer;

/** A step gave a number that is not finite. The parameters are those before the step. */
public final class NonFiniteException extends RuntimeException {

    private static final long serialVersionUID = 1L;

    private final long step;

    NonFiniteException(long step, String tensor, double loss) {
        super("step " + step + ": the loss is " + loss + "; the first tensor that is not finite is " + tensor
                + "; lower --learning-rate, or look at the data of this step");
        this.step = step;
    }

    /** The optimizer step, counted from 1. */
    public long step() {
        return step;
    }
}
