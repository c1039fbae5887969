package io.qlora.cli;

import io.qlora.trainer.MemoryPlan;
import io.qlora.trainer.WayOut;
import java.util.ArrayList;
import java.util.List;

/** Says what a run will take, and refuses what cannot fit, with the option that would help. */
final class Fit {

    /** What is being done, since options that make it smaller have other names for each. */
    enum Use {
        TRAINING,
        EVALUATION,
        GENERATION
    }

    private final Use use;
    private final MemoryPlan plan;

    Fit(Use use, MemoryPlan plan) {
        this.use = use;
        this.plan = plan;
    }

    /** The lines before a run. */
    void announce(Reporter reporter) {
        List<String> parts = new ArrayList<>();
        add(parts, "weights", plan.weights());
        add(parts, "adapter", plan.adapter());
        add(parts, "optimizer", plan.optimizer());
        add(parts, "keys and values", plan.cache());
        add(parts, "activations", plan.activations());
        add(parts, plan.onCard() ? "code" : "JVM", plan.onCard() ? plan.reserve() : plan.jvm());
        int first = Math.min(2, parts.size());
        reporter.line(
                "memory   %s of %s available: %s,%n         %s",
                InWords.bytes(plan.total()),
                InWords.bytes(plan.available()),
                String.join(", ", parts.subList(0, first)),
                String.join(", ", parts.subList(first, parts.size())));
        if (plan.onCard()) {
            reporter.line(
                    "         and %s of the machine's %s available: %sJVM %s",
                    InWords.bytes(plan.beside()),
                    InWords.bytes(plan.machine()),
                    plan.offloaded() > 0 ? "activations " + InWords.bytes(plan.offloaded()) + ", " : "",
                    InWords.bytes(plan.jvm()));
        }
    }

    private static void add(List<String> parts, String name, long bytes) {
        if (bytes > 0) {
            parts.add(name + " " + InWords.bytes(bytes));
        }
    }

    /** Requires that there is as much. */
    void require(WayOut way) {
        if (!plan.fits()) {
            throw new IllegalStateException("this run needs " + InWords.bytes(plan.total()) + " of "
                    + (plan.onCard() ? plan.device() + "'s memory, " : "memory, ")
                    + InWords.bytes(plan.available()) + " are available; " + option(way));
        }
    }

    private String option(WayOut way) {
        String machine =
                "it is the machine's own memory that does not suffice, " + InWords.bytes(plan.machine()) + ": ";
        return switch (way) {
            case NO_OFFLOADING -> machine + "leave out --offload-activations";
            case FEWER_PROGRAMS -> machine + "end other programs";
            case QUANTIZATION -> "--quantization nf4 keeps the linears in 4 bits";
            case CHECKPOINTING -> "--gradient-checkpointing keeps a fraction of the activations";
            case SMALLER_BATCHES ->
                use == Use.TRAINING
                        ? "a smaller --per-device-train-batch-size, with more --gradient-accumulation-steps, trains the same"
                        : "a smaller --per-device-eval-batch-size measures the same";
            case OFFLOADING -> "--offload-activations keeps the blocks' inputs in the machine's memory";
            case SHORTER_DOCUMENTS ->
                use == Use.GENERATION
                        ? "a smaller --max-new-tokens, or a shorter prompt, makes a shorter document"
                        : "a smaller --max-length shortens the longest documents";
            case SMALLER_ADAPTER ->
                use == Use.TRAINING
                        ? "a smaller --lora-r, or fewer --target-modules, makes a smaller adapter"
                        : "the adapter takes most of it: one of a smaller rank is needed";
            case FEWER_THREADS -> "fewer --threads take less of it";
            case MORE_MEMORY ->
                "the weights alone take most of it: a machine with more memory, or a smaller model, is needed";
        };
    }
}
