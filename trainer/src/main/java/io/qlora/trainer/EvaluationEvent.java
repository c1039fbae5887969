package io.qlora.trainer;

import jdk.jfr.Category;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/** An evaluation, as Java Flight Recorder sees it. */
@Name("io.qlora.Evaluation")
@Label("Evaluation")
@Category("QLoRA")
@StackTrace(false)
final class EvaluationEvent extends Event {

    @Label("Negative Log-Likelihood per Target")
    double nll;

    @Label("Target Tokens")
    long targets;
}
