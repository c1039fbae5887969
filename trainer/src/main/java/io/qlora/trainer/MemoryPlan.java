package io.qlora.trainer;

import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.tensor.Device;
import io.qlora.llama.LoadOptions;
import io.qlora.trainer.data.DataSet;
import java.io.IOException;
import java.nio.file.Path;
import java.util.function.Consumer;

/**
 * What a run will take, in bytes: on a processor all of it of the machine's memory, on a card most of it of the card's. Not
 * estimated: the run's own largest step is rehearsed on a device that computes nothing and counts.
 *
 * @param device where it runs, as in reports
 * @param weights the model's, as they are kept
 * @param adapter its parameters, their gradients, and the parameters before the last step
 * @param optimizer AdamW's two moments
 * @param cache keys and values of a document that is being generated
 * @param step what the largest micro-batch takes: activations with what is saved for the way back, their gradients, and what
 *     of them waits in the machine's memory
 * @param reserve of a card's memory: for the kernels' code, what libraries take, and the largest weight decoded; 0 on a
 *     processor
 * @param jvm a share of the machine's memory for the JVM itself: code, heap with the documents, threads, packed panels,
 *     buffers of copies
 * @param threads that compute, of a processor; 0 on a card
 * @param available what the device has free: on a processor the machine, or what a container's limit leaves
 * @param machine what the machine has free
 * @param trainable number of adapter parameters
 * @param modelParameters number of parameters of the model
 */
public record MemoryPlan(
        String device,
        long weights,
        long adapter,
        long optimizer,
        long cache,
        StepMemory.Sizes step,
        long reserve,
        long jvm,
        int threads,
        long available,
        long machine,
        long trainable,
        long modelParameters) {

    /** What a thread that computes takes: its stack, its packed panels. */
    static final long THREAD = 12L << 20;

    /** What training takes. */
    static MemoryPlan of(RunOptions options, Device target, DataSet train, DataSet eval) throws IOException {
        try (Rehearsal rehearsal = new Rehearsal(options.model(), options.load(), target)) {
            rehearsal.create(options.lora(), options.training().seed());
            rehearsal.train(train, options.training());
            if (eval != null) {
                rehearsal.evaluate(eval, options.training().batchSize());
            }
            return rehearsal.plan(options.threads());
        }
    }

    /**
     * What an {@link Evaluator} takes, with the model, which is not loaded yet, and the data.
     *
     * @param adapter a PEFT directory, or null
     * @param threads that compute, where the device is a processor
     * @param batchSize documents at a time
     * @throws IOException naming file and tensor, if the model or the adapter cannot be used
     */
    public static MemoryPlan ofEvaluation(
            Path model, LoadOptions load, Path adapter, Device target, int threads, DataSet data, int batchSize)
            throws IOException {
        return rehearse(model, load, adapter, target, threads, rehearsal -> rehearsal.evaluate(data, batchSize));
    }

    /**
     * What a {@link io.qlora.llama.Generator} takes, with the model, which is not loaded yet.
     *
     * @param adapter a PEFT directory, or null
     * @param threads that compute, where the device is a processor
     * @param promptTokens tokens of the prompt
     * @param maxTokens the most tokens the document can have, prompt included
     * @throws IOException naming file and tensor, if the model or the adapter cannot be used
     */
    public static MemoryPlan ofGeneration(
            Path model, LoadOptions load, Path adapter, Device target, int threads, int promptTokens, int maxTokens)
            throws IOException {
        return rehearse(
                model, load, adapter, target, threads, rehearsal -> rehearsal.generate(promptTokens, maxTokens));
    }

    private static MemoryPlan rehearse(
            Path model, LoadOptions load, Path adapter, Device target, int threads, Consumer<Rehearsal> use)
            throws IOException {
        try (Rehearsal rehearsal = new Rehearsal(model, load, target)) {
            if (adapter != null) {
                rehearsal.load(adapter);
            }
            use.accept(rehearsal);
            return rehearsal.plan(threads);
        }
    }

    /** Activations, what is saved for the way back, and their gradients, in the largest micro-batch. */
    public long activations() {
        return step.onDevice();
    }

    /** What of the activations waits in the machine's memory; 0 on a processor. */
    public long offloaded() {
        return step.host();
    }

    /** All that it takes of the memory of the device it runs on: on a processor simply all. */
    public long total() {
        long tensors = weights + adapter + optimizer + cache + activations();
        return onCard() ? tensors + reserve : tensors + jvm;
    }

    /** What it takes of the machine's memory beside a card's; 0 on a processor, where that is {@link #total}. */
    public long beside() {
        return onCard() ? offloaded() + jvm : 0;
    }

    /** Whether it runs on a device with memory of its own. */
    public boolean onCard() {
        return reserve > 0;
    }

    /** Whether there is that much. */
    public boolean fits() {
        return total() <= available && beside() <= machine;
    }

    /** What would save most, of training; for a plan that does not fit. */
    public WayOut wayOut(RunOptions options) {
        TrainingConfig training = options.training();
        WayOut ofActivations = WayOut.SHORTER_DOCUMENTS;
        if (!training.gradientCheckpointing()) {
            ofActivations = WayOut.CHECKPOINTING;
        } else if (training.batchSize() > 1) {
            ofActivations = WayOut.SMALLER_BATCHES;
        } else if (onCard() && !training.offloadActivations()) {
            ofActivations = WayOut.OFFLOADING;
        }
        return wayOut(options.load(), ofActivations);
    }

    /**
     * The same of an evaluation, or of generating.
     *
     * @param batchSize documents at a time
     */
    public WayOut wayOut(LoadOptions load, int batchSize) {
        return wayOut(load, batchSize > 1 ? WayOut.SMALLER_BATCHES : WayOut.SHORTER_DOCUMENTS);
    }

    private WayOut wayOut(LoadOptions load, WayOut ofActivations) {
        if (beside() > machine) {
            return offloaded() > 0 ? WayOut.NO_OFFLOADING : WayOut.FEWER_PROGRAMS;
        }
        long ofDocuments = activations() + cache;
        boolean tooMuch = total() - ofDocuments > available; // whatever is done about them
        if ((tooMuch || ofDocuments < weights) && load.quantization() == LoadOptions.Quantization.NONE) {
            return WayOut.QUANTIZATION;
        }
        if (!tooMuch) {
            return ofActivations;
        }
        if (adapter + optimizer > Math.max(weights, onCard() ? 0 : jvm)) {
            return WayOut.SMALLER_ADAPTER;
        }
        return threads * THREAD > weights ? WayOut.FEWER_THREADS : WayOut.MORE_MEMORY;
    }
}
