package io.qlora.trainer;

import io.qlora.llama.LoadOptions;
import io.qlora.lora.LoraConfig;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;

/**
 * What a {@link TrainingRun} is made from.
 *
 * @param model Hugging Face directory
 * @param data files to learn from, at least one
 * @param evalData files to measure on, perhaps none
 * @param evalSplit share (below 1) or number (from 1) of documents to hold out of {@code data} instead; 0 for none
 * @param output directory for adapter, metrics and checkpoints; new or empty unless a checkpoint is resumed
 * @param maxLength the most tokens of a document; 0 for 1024 or the model's limit, the smaller
 * @param completionOnly whether prompts are not learnt
 * @param lora what adapter to train
 * @param load how the weights are kept
 * @param training how to train
 * @param threads how many compute, on the processor
 * @param resumeFromCheckpoint directory of a checkpoint, {@link #LATEST}, or null for a new run
 */
public record RunOptions(
        Path model,
        List<Path> data,
        List<Path> evalData,
        double evalSplit,
        Path output,
        int maxLength,
        boolean completionOnly,
        LoraConfig lora,
        LoadOptions load,
        TrainingConfig training,
        int threads,
        Path resumeFromCheckpoint) {

    /** Stands for the checkpoint of the highest step in the output directory. */
    public static final Path LATEST = Path.of("latest");

    public RunOptions {
        Objects.requireNonNull(model);
        Objects.requireNonNull(output);
        Objects.requireNonNull(lora);
        Objects.requireNonNull(load);
        Objects.requireNonNull(training);
        data = List.copyOf(data);
        evalData = List.copyOf(evalData);
        if (data.isEmpty()) {
            throw new IllegalArgumentException("data: at least one file is needed");
        }
        boolean share = evalSplit >= 0 && evalSplit < 1;
        boolean number = evalSplit >= 1 && evalSplit <= Integer.MAX_VALUE && evalSplit == Math.rint(evalSplit);
        if (!share && !number) {
            throw new IllegalArgumentException(
                    "evalSplit should be a share below 1 or a whole number of documents, found " + evalSplit);
        }
        if (evalSplit > 0 && !evalData.isEmpty()) {
            throw new IllegalArgumentException("evalSplit and evalData exclude each other");
        }
        if (maxLength < 0 || maxLength == 1) {
            throw new IllegalArgumentException("maxLength should be at least 2, found " + maxLength);
        }
        if (threads < 1) {
            throw new IllegalArgumentException("threads should be at least 1, found " + threads);
        }
    }
}
