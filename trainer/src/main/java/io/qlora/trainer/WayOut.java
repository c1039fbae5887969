package io.qlora.trainer;

/** What would help a run most that needs more memory than there is. */
public enum WayOut {

    /** To leave {@link TrainingConfig#offloadActivations} out: it is the machine's own memory that does not suffice. */
    NO_OFFLOADING,

    /** To end other programs: the same, and nothing is offloaded. */
    FEWER_PROGRAMS,

    /** {@link io.qlora.llama.LoadOptions.Quantization#NF4}, which keeps the linears in 4 bits. */
    QUANTIZATION,

    /** {@link TrainingConfig#gradientCheckpointing}, which keeps a fraction of the activations. */
    CHECKPOINTING,

    /** A smaller {@link TrainingConfig#batchSize}, with more {@link TrainingConfig#gradientAccumulationSteps}. */
    SMALLER_BATCHES,

    /** {@link TrainingConfig#offloadActivations}, which keeps the blocks' inputs in the machine's memory. */
    OFFLOADING,

    /** A smaller {@link RunOptions#maxLength}. */
    SHORTER_DOCUMENTS,

    /** A smaller {@link io.qlora.lora.LoraConfig#r}, or fewer {@link io.qlora.lora.LoraConfig#targetModules}. */
    SMALLER_ADAPTER,

    /** Fewer {@link RunOptions#threads}. */
    FEWER_THREADS,

    /** A machine with more memory, or a smaller model: the weights alone take most of it. */
    MORE_MEMORY
}
