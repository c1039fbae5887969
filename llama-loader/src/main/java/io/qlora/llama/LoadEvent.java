package io.qlora.llama;

import jdk.jfr.Category;
import jdk.jfr.DataAmount;
import jdk.jfr.Event;
import jdk.jfr.Label;
import jdk.jfr.Name;
import jdk.jfr.StackTrace;

/** A model was loaded, for JDK Flight Recorder. */
@Name("io.qlora.ModelLoad")
@Label("Model Load")
@Category("QLoRA")
@StackTrace(false)
final class LoadEvent extends Event {

    @Label("Directory")
    String directory;

    @Label("Quantization")
    String quantization;

    @Label("Bytes of Weights")
    @DataAmount
    long bytes;
}
