package io.qlora.trainer;

import jdk.jfr.Category;
import jdk.jfr.DataAmount;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/** An optimizer step, as Java Flight Recorder sees it. */
@Name("io.qlora.TrainingStep")
@Label("Training Step")
@Category("QLoRA")
@StackTrace(false)
final class TrainingStepEvent extends Event {

    @Label("Step")
    long step;

    @Label("Loss")
    double loss;

    @Label("Gradient Norm")
    double gradNorm;

    @Label("Tokens")
    int tokens;

    @Label("Peak Step Memory")
    @DataAmount
    long peakBytes;
}
