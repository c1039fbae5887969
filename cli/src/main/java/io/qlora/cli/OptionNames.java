package io.qlora.cli;

import java.util.Map;
import java.util.regex.Pattern;

/** The options that set what the library names in its messages: {@code batchSize} means nothing at a terminal. */
final class OptionNames {

    /** By their names in TrainingConfig, RunOptions, LoraConfig, LoadOptions and Accelerators; of words, with the name of these. */
    static final Map<String, String> OPTIONS = Map.ofEntries(
            Map.entry("LoadOptions.quantization", "--quantization"),
            Map.entry("LoraConfig.r", "--lora-r"),
            Map.entry("TrainingConfig.seed", "--seed"),
            Map.entry("batchSize", "--per-device-train-batch-size"),
            Map.entry("binding", "--cuda-binding"),
            Map.entry("completionOnly", "--completion-only-loss"),
            Map.entry("device", "--device"),
            Map.entry("doubleQuant", "--double-quant"),
            Map.entry("evalData", "--eval-data"),
            Map.entry("evalSplit", "--eval-split"),
            Map.entry("evalSteps", "--eval-steps"),
            Map.entry("gradientAccumulationSteps", "--gradient-accumulation-steps"),
            Map.entry("gradientCheckpointing", "--gradient-checkpointing"),
            Map.entry("learningRate", "--learning-rate"),
            Map.entry("loraAlpha", "--lora-alpha"),
            Map.entry("loraDropout", "--lora-dropout"),
            Map.entry("maxGradNorm", "--max-grad-norm"),
            Map.entry("maxLength", "--max-length"),
            Map.entry("maxSteps", "--max-steps"),
            Map.entry("numTrainEpochs", "--num-train-epochs"),
            Map.entry("offloadActivations", "--offload-activations"),
            Map.entry("output", "--output"),
            Map.entry("resumeFromCheckpoint", "--resume-from-checkpoint"),
            Map.entry("saveSteps", "--save-steps"),
            Map.entry("scheduler", "--lr-scheduler-type"),
            Map.entry("targetModules", "--target-modules"),
            Map.entry("useRslora", "--use-rslora"),
            Map.entry("warmupRatio", "--warmup-ratio"),
            Map.entry("weightDecay", "--weight-decay"));

    /** A name that stands alone, not in a path; of those that are words, too, at the beginning. */
    private static final Pattern NAME = Pattern.compile("^(?:binding|device|output)(?= )"
            + "|(?<![\\w./\\\\-])([a-z]+[A-Z][A-Za-z]+|[A-Z][A-Za-z]+\\.[a-z]+|scheduler)(?![\\w./\\\\-])");

    private OptionNames() {}

    /** A message of the library's, with options in place of what they set; null if there is none. */
    static String in(String message) {
        return message == null
                ? null
                : NAME.matcher(message).replaceAll(found -> OPTIONS.getOrDefault(found.group(), found.group()));
    }
}
