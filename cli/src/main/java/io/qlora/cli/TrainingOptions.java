package io.qlora.cli;

import io.qlora.engine.optim.LearningRate;
import io.qlora.trainer.TrainingConfig;
import java.nio.file.Path;
import picocli.CommandLine.Option;

/** How to train: options named and meant as in transformers and TRL. */
final class TrainingOptions {

    @Option(names = "--learning-rate", defaultValue = "2e-4", description = "Peak rate (default ${DEFAULT-VALUE}).")
    private double learningRate;

    @Option(
            names = "--lr-scheduler-type",
            defaultValue = "linear",
            description = "constant, linear or cosine (default ${DEFAULT-VALUE}).")
    private LearningRate.Schedule scheduler;

    @Option(
            names = "--warmup-ratio",
            defaultValue = "0",
            description = "Share of the steps over which the rate first rises (default ${DEFAULT-VALUE}).")
    private double warmupRatio;

    @Option(names = "--weight-decay", defaultValue = "0", description = "Decoupled (default ${DEFAULT-VALUE}).")
    private double weightDecay;

    @Option(
            names = "--max-grad-norm",
            defaultValue = "1",
            description = "Gradients are scaled down to this norm; 0 for never (default ${DEFAULT-VALUE}).")
    private double maxGradNorm;

    @Option(
            names = "--num-train-epochs",
            defaultValue = "3",
            description = "Passes over the data (default ${DEFAULT-VALUE}).")
    private double epochs;

    @Option(names = "--max-steps", defaultValue = "0", description = "Optimizer steps; if given, instead of epochs.")
    private int maxSteps;

    @Option(
            names = "--per-device-train-batch-size",
            defaultValue = "8",
            description = "Documents at a time (default ${DEFAULT-VALUE}).")
    private int batchSize;

    @Option(
            names = "--gradient-accumulation-steps",
            defaultValue = "1",
            description = "Batches in an optimizer step (default ${DEFAULT-VALUE}).")
    private int gradientAccumulationSteps;

    @Option(
            names = "--max-length",
            defaultValue = "0",
            description = "Tokens of a document; longer ones are cut (default: 1024 or the model's limit).")
    int maxLength;

    @Option(
            names = "--gradient-checkpointing",
            description = "Recompute activations on the way back: a third more work, a fraction of the memory.")
    private boolean gradientCheckpointing;

    @Option(
            names = "--completion-only-loss",
            defaultValue = "true",
            arity = "0..1",
            fallbackValue = "true",
            description = "Do not learn prompts (default ${DEFAULT-VALUE}).")
    boolean completionOnly;

    @Option(
            names = "--logging-steps",
            defaultValue = "10",
            description = "Steps between two lines where there is no terminal (default ${DEFAULT-VALUE}).")
    private int loggingSteps;

    @Option(
            names = "--eval-steps",
            defaultValue = "0",
            description = "Steps between evaluations, beside the first and the last (default: none).")
    private int evalSteps;

    @Option(names = "--save-steps", defaultValue = "0", description = "Steps between checkpoints (default: none).")
    private int saveSteps;

    @Option(
            names = "--resume-from-checkpoint",
            arity = "0..1",
            fallbackValue = "latest",
            paramLabel = "DIR",
            description = "Go on from a checkpoint; without DIR from the last one in --output.")
    Path resume;

    @Option(
            names = "--seed",
            defaultValue = "42",
            description = "Of data order, dropout, initialisation (default ${DEFAULT-VALUE}).")
    private long seed;

    TrainingConfig config() {
        return TrainingConfig.builder()
                .learningRate(learningRate)
                .scheduler(scheduler)
                .warmupRatio(warmupRatio)
                .weightDecay(weightDecay)
                .maxGradNorm(maxGradNorm)
                .numTrainEpochs(epochs)
                .maxSteps(maxSteps)
                .batchSize(batchSize)
                .gradientAccumulationSteps(gradientAccumulationSteps)
                .gradientCheckpointing(gradientCheckpointing)
                .loggingSteps(loggingSteps)
                .evalSteps(evalSteps)
                .saveSteps(saveSteps)
                .seed(seed)
                .build();
    }
}
