package io.qlora.trainer;

import io.qlora.llama.LlamaConfig;
import io.qlora.llama.LlamaTokenizer;
import io.qlora.trainer.data.Batches;
import io.qlora.trainer.data.DataSet;
import io.qlora.trainer.data.Document;
import io.qlora.trainer.data.TokenizerEncoding;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * A whole run, from a model directory and data files to a PEFT directory: what {@code qlora train} does. {@link #prepare}
 * reads the data and predicts the memory before any weight is loaded; {@link #run} does the rest. The output directory
 * gets the adapter, {@code metrics.jsonl} and, if asked for, checkpoints.
 */
public final class TrainingRun {

    private static final String METRICS = "metrics.jsonl";

    private final RunOptions options;
    private final DataSet train;
    private final DataSet eval; // or null
    private final Path checkpoint; // to go on from, or null
    private final MemoryPlan plan;
    private volatile Trainer trainer;
    private volatile boolean stopRequested;

    private TrainingRun(RunOptions options, DataSet train, DataSet eval, Path checkpoint, MemoryPlan plan) {
        this.options = options;
        this.train = train;
        this.eval = eval;
        this.checkpoint = checkpoint;
        this.plan = plan;
    }

    /**
     * Checks the output directory, reads the data, predicts the memory.
     *
     * @throws IllegalArgumentException if options do not fit together, or the output directory holds something already
     * @throws IOException if model or data cannot be used
     */
    public static TrainingRun prepare(RunOptions options) throws IOException {
        Path checkpoint = checkpoint(options);
        if (checkpoint == null) {
            requireEmpty(options.output());
        }
        LlamaConfig config = LlamaConfig.read(options.model());
        int maxLength = DataSet.maxLength(options.maxLength(), config);
        DataSet train;
        DataSet eval = null;
        try (LlamaTokenizer tokenizer = LlamaTokenizer.load(options.model(), config)) {
            TokenizerEncoding encoding = new TokenizerEncoding(tokenizer);
            train = DataSet.read(options.data(), encoding, maxLength, options.completionOnly());
            if (!options.evalData().isEmpty()) {
                eval = DataSet.read(options.evalData(), encoding, maxLength, options.completionOnly());
            }
        }
        if (options.evalSplit() > 0) {
            DataSet[] parts = split(train, options.evalSplit(), options.training().seed());
            train = parts[0];
            eval = parts[1];
        }
        return new TrainingRun(options, train, eval, checkpoint, MemoryPlan.of(config, options, train, eval));
    }

    private static Path checkpoint(RunOptions options) throws IOException {
        if (options.resumeFromCheckpoint() == null) {
            return null;
        }
        if (!options.resumeFromCheckpoint().equals(RunOptions.LATEST)) {
            return options.resumeFromCheckpoint();
        }
        return CheckpointStore.latest(options.output())
                .orElseThrow(() -> new IllegalArgumentException(
                        options.output() + ": holds no checkpoint to resume from; train with --save-steps to make them"));
    }

    private static void requireEmpty(Path output) throws IOException {
        if (!Files.exists(output)) {
            return;
        }
        if (!Files.isDirectory(output)) {
            throw new IllegalArgumentException(output + ": the output should be a directory, found a file");
        }
        try (Stream<Path> entries = Files.list(output)) {
            if (entries.findAny().isPresent()) {
                throw new IllegalArgumentException(output
                        + ": the output directory is not empty; name another, or go on with --resume-from-checkpoint");
            }
        }
    }

    /** Holds out a share (below 1) or a number (from 1) of documents, drawn by the seed. */
    private static DataSet[] split(DataSet data, double evalSplit, long seed) {
        int count = (int) (evalSplit < 1 ? Math.ceil(evalSplit * data.size()) : evalSplit);
        if (count >= data.size()) {
            throw new IllegalArgumentException("--eval-split " + evalSplit + " leaves nothing of the " + data.size()
                    + " documents to train on");
        }
        List<Document> shuffled = new Batches(data, data.size(), ~seed).step(1);
        List<Document> held = new ArrayList<>(shuffled.subList(0, count));
        List<Document> rest = new ArrayList<>(shuffled.subList(count, shuffled.size()));
        return new DataSet[] {new DataSet(rest, data.cut(), data.dropped()), DataSet.of(held)};
    }

    /** What is learnt. */
    public DataSet train() {
        return train;
    }

    /** What is measured on, or null. */
    public DataSet eval() {
        return eval;
    }

    /** What the run will take. */
    public MemoryPlan plan() {
        return plan;
    }

    /** Optimizer steps of the whole run. */
    public int totalSteps() {
        int perStep = options.training().documentsPerStep();
        return options.training().totalSteps((train.size() + perStep - 1) / perStep);
    }

    /** Has the run end, its results saved, after the step that is under way. From any thread. */
    public void requestStop() {
        stopRequested = true;
        Trainer running = trainer;
        if (running != null) {
            running.requestStop();
        }
    }

    /**
     * Loads, trains, saves.
     *
     * @throws NonFiniteException if a step gives something that is not finite; the adapter before it has been saved
     */
    public Trainer.Outcome run(TrainingListener listener) throws IOException {
        try (FineTuner tuner = FineTuner.on(options.model())
                .lora(options.lora())
                .load(options.load())
                .threads(options.threads())
                .seed(options.training().seed())
                .open()) {
            listener.onLoaded(tuner);
            return run(tuner, listener);
        }
    }

    private Trainer.Outcome run(FineTuner tuner, TrainingListener listener) throws IOException {
        Files.createDirectories(options.output());
        try (Trainer running = new Trainer(tuner.model(), tuner.adapter().parameters(), options.training())) {
            CheckpointStore checkpoints = new CheckpointStore(
                    options.output(), tuner.adapter(), tuner.baseName(), options.training(), train, totalSteps(), listener);
            long done = checkpoint == null ? 0 : checkpoints.restore(checkpoint, running.optimizer());
            trainer = running;
            if (stopRequested) {
                running.requestStop();
            }
            try (MetricsLog metrics = new MetricsLog(options.output().resolve(METRICS), done)) {
                Trainer.Outcome outcome = running.train(train, eval, done, checkpoints, metrics.and(listener));
                if (outcome.stopped() && outcome.steps() > done) {
                    checkpoints.save(outcome.steps(), running.optimizer());
                }
                tuner.save(options.output());
                return outcome;
            } catch (NonFiniteException e) {
                tuner.save(options.output());
                throw e;
            }
        }
    }
}
