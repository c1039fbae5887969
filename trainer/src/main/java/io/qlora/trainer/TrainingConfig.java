package io.qlora.trainer;

import io.qlora.engine.optim.LearningRate;
import io.qlora.engine.tensor.Device;
import io.qlora.llama.Checkpointing;
import java.util.Objects;

/**
 * How to train. Names and meanings are those of transformers' {@code TrainingArguments} and TRL's {@code SFTConfig}.
 *
 * @param learningRate the peak learning rate; default 2e-4
 * @param scheduler how it changes over the run; default linear to zero
 * @param warmupRatio the share of all steps over which it first rises from zero; 0 with a constant schedule, which as in
 *     transformers has no warm-up: another has; default 0
 * @param weightDecay decoupled, on every adapter tensor; default 0
 * @param maxGradNorm gradients are scaled down to this global norm; 0 switches clipping off; default 1
 * @param numTrainEpochs passes over the data, perhaps not a whole number, when {@code maxSteps} is 0; default 3
 * @param maxSteps optimizer steps; 0 leaves it to the epochs; default 0
 * @param batchSize documents in a micro-batch; default 8
 * @param gradientAccumulationSteps micro-batches in an optimizer step; default 1
 * @param gradientCheckpointing whether activations are recomputed on the way back: a third more work, a fraction of the
 *     memory; default off
 * @param offloadActivations with {@code gradientCheckpointing} on a card: whether what is kept is in the machine's memory
 *     instead of the card's; default off
 * @param evalSteps steps between two evaluations, 0 for one at the start and one at the end; default 0
 * @param saveSteps steps between two checkpoints, 0 for none; default 0
 * @param seed of data order, dropout and adapter initialisation; default 42
 */
public record TrainingConfig(
        double learningRate,
        LearningRate.Schedule scheduler,
        double warmupRatio,
        double weightDecay,
        double maxGradNorm,
        double numTrainEpochs,
        int maxSteps,
        int batchSize,
        int gradientAccumulationSteps,
        boolean gradientCheckpointing,
        boolean offloadActivations,
        int evalSteps,
        int saveSteps,
        long seed) {

    public TrainingConfig {
        Objects.requireNonNull(scheduler);
        require(Double.isFinite(learningRate) && learningRate >= 0, "learningRate", "a number from 0", learningRate);
        require(warmupRatio >= 0 && warmupRatio <= 1, "warmupRatio", "from 0 to 1", warmupRatio);
        require(
                warmupRatio == 0 || scheduler != LearningRate.Schedule.CONSTANT,
                "warmupRatio",
                "0 where scheduler is constant, which has no warm-up (constant_with_warmup has)",
                warmupRatio);
        require(Double.isFinite(weightDecay) && weightDecay >= 0, "weightDecay", "a number from 0", weightDecay);
        require(maxGradNorm >= 0, "maxGradNorm", "a number from 0", maxGradNorm);
        require(maxSteps >= 0, "maxSteps", "at least 1, or 0 for numTrainEpochs", maxSteps);
        require(
                maxSteps > 0 || (Double.isFinite(numTrainEpochs) && numTrainEpochs > 0),
                "numTrainEpochs",
                "a number above 0",
                numTrainEpochs);
        require(batchSize >= 1, "batchSize", "at least 1", batchSize);
        require(gradientAccumulationSteps >= 1, "gradientAccumulationSteps", "at least 1", gradientAccumulationSteps);
        require(
                (long) batchSize * gradientAccumulationSteps <= Integer.MAX_VALUE,
                "gradientAccumulationSteps",
                "at most " + Integer.MAX_VALUE / batchSize + ", since a step has batchSize " + batchSize
                        + " times as many documents",
                gradientAccumulationSteps);
        if (offloadActivations && !gradientCheckpointing) {
            throw new IllegalArgumentException(
                    "offloadActivations moves what gradientCheckpointing keeps: give both, or neither");
        }
        require(evalSteps >= 0, "evalSteps", "at least 0", evalSteps);
        require(saveSteps >= 0, "saveSteps", "at least 0", saveSteps);
    }

    private static void require(boolean holds, String name, String expected, Object found) {
        if (!holds) {
            throw new IllegalArgumentException(name + " should be " + expected + ", found " + found);
        }
    }

    /** The defaults, to be changed one by one. */
    public static Builder builder() {
        return new Builder();
    }

    /**
     * Optimizer steps of a run over a data set in which an epoch has {@code stepsPerEpoch}.
     *
     * @throws IllegalArgumentException if they cannot be counted
     */
    public int totalSteps(int stepsPerEpoch) {
        double steps = maxSteps > 0 ? maxSteps : Math.ceil(numTrainEpochs * stepsPerEpoch);
        require(steps <= Integer.MAX_VALUE, "numTrainEpochs", "fewer, for less than 2³¹ steps", numTrainEpochs);
        return (int) steps;
    }

    /** Documents in an optimizer step. */
    public int documentsPerStep() {
        return Math.multiplyExact(batchSize, gradientAccumulationSteps);
    }

    /** What becomes of the blocks' activations. */
    public Checkpointing checkpointing() {
        if (!gradientCheckpointing) {
            return Checkpointing.NONE;
        }
        return offloadActivations ? Checkpointing.OFFLOADED : Checkpointing.BLOCKS;
    }

    /**
     * Requires that a run can be done so on {@code device}.
     *
     * @param device null stands for a processor
     * @throws IllegalArgumentException naming what cannot be heeded there
     */
    void requireOn(Device device) {
        if (offloadActivations && (device == null || device.onHost())) {
            throw new IllegalArgumentException(
                    "offloadActivations moves activations from a card to the machine's memory,"
                            + " where a processor's are already: leave it out, or train on a card");
        }
    }

    /** The learning rate over a run of this many steps. */
    public LearningRate schedule(int totalSteps) {
        return LearningRate.of(scheduler, learningRate, warmupRatio, totalSteps);
    }

    /** Collects what differs from the defaults. */
    public static final class Builder {

        private double learningRate = 2e-4;
        private LearningRate.Schedule scheduler = LearningRate.Schedule.LINEAR;
        private double warmupRatio;
        private double weightDecay;
        private double maxGradNorm = 1;
        private double numTrainEpochs = 3;
        private int maxSteps;
        private int batchSize = 8;
        private int gradientAccumulationSteps = 1;
        private boolean gradientCheckpointing;
        private boolean offloadActivations;
        private int evalSteps;
        private int saveSteps;
        private long seed = 42;

        private Builder() {}

        public Builder learningRate(double value) {
            learningRate = value;
            return this;
        }

        public Builder scheduler(LearningRate.Schedule value) {
            scheduler = value;
            return this;
        }

        public Builder warmupRatio(double value) {
            warmupRatio = value;
            return this;
        }

        public Builder weightDecay(double value) {
            weightDecay = value;
            return this;
        }

        public Builder maxGradNorm(double value) {
            maxGradNorm = value;
            return this;
        }

        public Builder numTrainEpochs(double value) {
            numTrainEpochs = value;
            return this;
        }

        public Builder maxSteps(int value) {
            maxSteps = value;
            return this;
        }

        public Builder batchSize(int value) {
            batchSize = value;
            return this;
        }

        public Builder gradientAccumulationSteps(int value) {
            gradientAccumulationSteps = value;
            return this;
        }

        public Builder gradientCheckpointing(boolean value) {
            gradientCheckpointing = value;
            return this;
        }

        public Builder offloadActivations(boolean value) {
            offloadActivations = value;
            return this;
        }

        public Builder evalSteps(int value) {
            evalSteps = value;
            return this;
        }

        public Builder saveSteps(int value) {
            saveSteps = value;
            return this;
        }

        public Builder seed(long value) {
            seed = value;
            return this;
        }

        /**
         * The configuration.
         *
         * @throws IllegalArgumentException naming what is out of its range
         */
        public TrainingConfig build() {
            return new TrainingConfig(
                    learningRate,
                    scheduler,
                    warmupRatio,
                    weightDecay,
                    maxGradNorm,
                    numTrainEpochs,
                    maxSteps,
                    batchSize,
                    gradientAccumulationSteps,
                    gradientCheckpointing,
                    offloadActivations,
                    evalSteps,
                    saveSteps,
                    seed);
        }
    }
}
