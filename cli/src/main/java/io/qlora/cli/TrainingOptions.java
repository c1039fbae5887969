package io.qlora.cli;

import io.qlora.engine.optim.LearningRate;
import io.qlora.trainer.TrainingConfig;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** How to train: options named and meant as in transformers and TRL. */
@Command(optionListHeading = "Training:")
final class TrainingOptions {

    private static final double EPOCHS = 3;

    @Option(names = "--num-train-epochs", paramLabel = "X", description = "Passes over the data (default: 3).")
    private Double epochs;

    @Option(names = "--max-steps", paramLabel = "N", description = "Instead of --num-train-epochs: optimizer steps.")
    private Integer maxSteps;

    @Option(
            names = "--per-device-train-batch-size",
            defaultValue = "8",
            paramLabel = "N",
            description = "Documents at a time (default: ${DEFAULT-VALUE}).")
    private int batchSize;

    @Option(
            names = "--gradient-accumulation-steps",
            defaultValue = "1",
            paramLabel = "N",
            description = "Such batches in an optimizer step (default: ${DEFAULT-VALUE}).")
    private int gradientAccumulationSteps;

    @Option(
            names = "--gradient-checkpointing",
            description = "Recompute activations on the way back: a third more work, a fraction of the memory.")
    private boolean gradientCheckpointing;

    @Option(
            names = "--offload-activations",
            description = "Of a card, with --gradient-checkpointing: keep in the machine's memory what is kept.")
    private boolean offloadActivations;

    @Option(
            names = "--learning-rate",
            defaultValue = "2e-4",
            paramLabel = "X",
            description = "The highest (default: ${DEFAULT-VALUE}).")
    private double learningRate;

    @Option(
            names = "--lr-scheduler-type",
            defaultValue = "linear",
            paramLabel = "KIND",
            description = "constant, constant_with_warmup, linear or cosine, these two down to 0"
                    + " (default: ${DEFAULT-VALUE}).")
    private LearningRate.Schedule scheduler;

    @Option(
            names = "--warmup-ratio",
            defaultValue = "0",
            paramLabel = "P",
            description = "Share of the steps over which the rate first rises from 0 (default: ${DEFAULT-VALUE}).")
    private double warmupRatio;

    @Option(
            names = "--weight-decay",
            defaultValue = "0",
            paramLabel = "X",
            description = "As AdamW has it, apart from the gradient (default: ${DEFAULT-VALUE}).")
    private double weightDecay;

    @Option(
            names = "--max-grad-norm",
            defaultValue = "1",
            paramLabel = "X",
            description = "Gradients are scaled down to this norm; 0 for never (default: ${DEFAULT-VALUE}).")
    private double maxGradNorm;

    @Option(
            names = "--seed",
            defaultValue = "42",
            paramLabel = "N",
            description = "Of initialisation, data order, dropout (default: ${DEFAULT-VALUE}).")
    private long seed;

    TrainingConfig config(OutputOptions output, EvaluationOptions evaluation) {
        if (epochs != null && maxSteps != null) {
            throw new UsageException("--max-steps and --num-train-epochs exclude each other: give one of them");
        }
        UsageException.require(maxSteps == null || maxSteps >= 1, "--max-steps", "at least 1", maxSteps);
        return UsageException.of(() -> TrainingConfig.builder()
                .learningRate(learningRate)
                .scheduler(scheduler)
                .warmupRatio(warmupRatio)
                .weightDecay(weightDecay)
                .maxGradNorm(maxGradNorm)
                .numTrainEpochs(epochs == null ? EPOCHS : epochs)
                .maxSteps(maxSteps == null ? 0 : maxSteps)
                .batchSize(batchSize)
                .gradientAccumulationSteps(gradientAccumulationSteps)
                .gradientCheckpointing(gradientCheckpointing)
                .offloadActivations(offloadActivations)
                .evalSteps(evaluation.steps())
                .saveSteps(output.saveSteps())
                .seed(seed)
                .build());
    }
}
