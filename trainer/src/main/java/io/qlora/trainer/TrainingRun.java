package io.qlora.trainer;

import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.DeviceMemoryException;
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
    private static final long LARGE = 20_000_000; // parameters of a model whose first step takes longer than a warm-up

    private final RunOptions options;
    private final Device device; // null: the processor
    private final LlamaConfig config;
    private final DataSet train;
    private final DataSet eval; // or null
    private final RunIdentity identity;
    private final Path checkpoint; // to go on from, or null
    private final long done; // steps at the checkpoint
    private final MemoryPlan plan;
    private volatile Trainer trainer;
    private volatile boolean stopRequested;

    private TrainingRun(
            RunOptions options,
            Device device,
            LlamaConfig config,
            String model,
            DataSet train,
            DataSet eval,
            Path checkpoint)
            throws IOException {
        this.options = options;
        this.device = device;
        this.config = config;
        this.train = train;
        this.eval = eval;
        this.identity = new RunIdentity(options, model, train, totalSteps());
        this.checkpoint = checkpoint;
        this.done = checkpoint == null ? 0 : CheckpointStore.check(checkpoint, identity);
        this.plan = MemoryPlan.of(options, device, train, eval);
    }

    /**
     * Checks the output directory, the model's files, the data and the checkpoint, and predicts the memory: whatever is
     * wrong shows before any weight is read.
     *
     * @throws IllegalArgumentException if options do not fit together, or the output directory holds something already
     * @throws IOException if model or data cannot be used
     */
    public static TrainingRun prepare(RunOptions options) throws IOException {
        return prepare(options, null);
    }

    /**
     * {@link #prepare(RunOptions)} for a run on this device.
     *
     * @param device stays open; null for the processor, {@link RunOptions#threads} of it
     */
    public static TrainingRun prepare(RunOptions options, Device device) throws IOException {
        options.training().requireOn(device);
        Path checkpoint = checkpoint(options);
        requireFree(options.output(), checkpoint);
        LlamaConfig config = LlamaConfig.read(options.model());
        String model = ModelDigest.of(options.model(), config);
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
            DataSet[] parts =
                    split(train, options.evalSplit(), options.training().seed());
            train = parts[0];
            eval = parts[1];
        }
        return new TrainingRun(options, device, config, model, train, eval, checkpoint);
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
                        options.output() + ": holds no checkpoint to resume from; train with saveSteps to make them"));
    }

    /** Requires that nothing is overwritten: the output is new or empty, or the run's that is resumed. */
    private static void requireFree(Path output, Path checkpoint) throws IOException {
        if (!Files.exists(output)) {
            return;
        }
        if (!Files.isDirectory(output)) {
            throw new IllegalArgumentException("output " + output + ": expected a directory, found a file");
        }
        boolean resumed = checkpoint != null
                && Files.isDirectory(checkpoint)
                && Files.isSameFile(checkpoint.toAbsolutePath().normalize().getParent(), output);
        try (Stream<Path> entries = Files.list(output)) {
            if (!resumed && entries.findAny().isPresent()) {
                throw new IllegalArgumentException("output " + output + ": the directory is not empty; name another"
                        + (checkpoint == null ? ", or go on with resumeFromCheckpoint" : " than the checkpoint's own"));
            }
        }
    }

    /** Holds out a share (below 1) or a number (from 1) of documents, drawn by the seed. */
    private static DataSet[] split(DataSet data, double evalSplit, long seed) {
        int count = (int) (evalSplit < 1 ? Math.ceil(evalSplit * data.size()) : evalSplit);
        if (count >= data.size()) {
            throw new IllegalArgumentException(
                    "evalSplit " + evalSplit + " leaves nothing of the " + data.size() + " documents to train on");
        }
        List<Document> shuffled = new Batches(data, data.size(), ~seed).step(1);
        List<Document> held = new ArrayList<>(shuffled.subList(0, count));
        List<Document> rest = new ArrayList<>(shuffled.subList(count, shuffled.size()));
        return new DataSet[] {new DataSet(rest, data.cut(), data.dropped()), DataSet.of(held)};
    }

    /** The model's shape. */
    public LlamaConfig config() {
        return config;
    }

    /** What is learnt. */
    public DataSet train() {
        return train;
    }

    /** What is measured on, or null. */
    public DataSet eval() {
        return eval;
    }

    /** The checkpoint that the run goes on from, or null. */
    public Path checkpoint() {
        return checkpoint;
    }

    /** How many steps were done before, by the run that is resumed; 0 for a new one. */
    public long doneSteps() {
        return done;
    }

    /** What the run will take. */
    public MemoryPlan plan() {
        return plan;
    }

    /** Optimizer steps of the whole run. */
    public int totalSteps() {
        TrainingConfig training = options.training();
        return training.totalSteps(new Batches(train, training.documentsPerStep(), training.seed()).stepsPerEpoch());
    }

    /** Has the run end, its results saved, after the step that is under way; an evaluation is called off. From any thread. */
    public void requestStop() {
        stopRequested = true;
        Trainer running = trainer;
        if (running != null) {
            running.requestStop();
        }
    }

    /**
     * Loads, trains, saves. A run that is stopped before its first step leaves nothing.
     *
     * @throws NonFiniteException if something is not finite; the last good adapter has then been saved, if there is one
     * @throws DeviceMemoryException if a card's memory does not suffice; the adapter before that step has then been saved
     */
    public Trainer.Outcome run(TrainingListener listener) throws IOException {
        // Before anything is loaded, so that a place that cannot be written to shows at once.
        OutputDirectory output = OutputDirectory.make(options.output());
        try (FineTuner tuner = open(output)) {
            listener.onLoaded(tuner);
            return run(tuner, listener);
        }
    }

    /** Loads the model. Where that fails, an output directory that was made for it is gone again. */
    private FineTuner open(OutputDirectory output) throws IOException {
        try {
            return open();
        } catch (IOException | RuntimeException | Error e) {
            output.takeBack(e);
            throw e;
        }
    }

    /** Loads the model, a large one while the compiler is at work, too. */
    private FineTuner open() throws IOException {
        try (WarmUp _ = plan.modelParameters() < LARGE ? null : WarmUp.begin(device)) {
            return FineTuner.on(options.model())
                    .lora(options.lora())
                    .load(options.load())
                    .device(device)
                    .threads(options.threads())
                    .seed(options.training().seed())
                    .open();
        }
    }

    private Trainer.Outcome run(FineTuner tuner, TrainingListener listener) throws IOException {
        Path metricsFile = options.output().resolve(METRICS);
        try (Trainer running = new Trainer(tuner.model(), tuner.adapter().parameters(), options.training())) {
            CheckpointStore checkpoints =
                    new CheckpointStore(options.output(), tuner.adapter(), tuner.baseName(), identity, listener);
            if (checkpoint != null) {
                CheckpointStore.restore(checkpoint, done, running.optimizer());
            }
            trainer = running;
            if (stopRequested) {
                running.requestStop();
            }
            Trainer.Outcome outcome;
            try (MetricsLog metrics = new MetricsLog(metricsFile, done)) {
                running.memory().reserve(plan.step());
                Trainer.Start start = new Trainer.Start(done, metrics.hasEvaluation(done));
                outcome = running.train(train, eval, start, checkpoints, metrics.and(listener));
            } catch (NonFiniteException e) {
                finish(tuner, e.keptStep(), metricsFile);
                throw e;
            } catch (DeviceMemoryException e) {
                long kept = running.optimizer().steps();
                finish(tuner, kept, metricsFile);
                throw kept == 0
                        ? e
                        : new DeviceMemoryException(
                                e.getMessage() + "; the adapter is kept as it was after step " + kept, e);
            }
            if (outcome.stopped() && outcome.steps() > done) {
                checkpoints.save(outcome.steps(), running.optimizer());
            }
            finish(tuner, outcome.steps(), metricsFile);
            return outcome;
        }
    }

    /** Saves the adapter after {@code steps}; after none, takes away what would keep the run from being begun again. */
    private void finish(FineTuner tuner, long steps, Path metricsFile) throws IOException {
        if (steps > 0) {
            tuner.save(options.output());
        } else {
            Files.deleteIfExists(metricsFile);
        }
    }
}
