package io.qlora.cli;

import io.qlora.engine.files.AtomicFiles;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.DeviceMemoryException;
import io.qlora.trainer.FineTuner;
import io.qlora.trainer.MemoryPlan;
import io.qlora.trainer.NonFiniteException;
import io.qlora.trainer.RunOptions;
import io.qlora.trainer.StepReport;
import io.qlora.trainer.Trainer;
import io.qlora.trainer.TrainingListener;
import io.qlora.trainer.TrainingRun;
import io.qlora.trainer.data.DataSet;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;

/** A training run in front of a person: says what it will use, shows how it goes, heeds Ctrl-C, draws the picture. */
final class TrainingSession implements TrainingListener {

    /** What a shell expects of a process that SIGINT ended. */
    static final int INTERRUPTED = 130;

    /**
     * What was achieved; as one JSON object with {@code --json}. Null is what was not measured. The losses are those of the
     * whole run; the seconds those by the clock since it was begun or resumed; the tokens per second those of its steps alone.
     */
    record Report(
            String output,
            long steps,
            boolean stopped,
            Double trainLoss,
            Double evalLossBefore,
            Double evalLoss,
            Double evalPerplexity,
            Long evalTargetTokens,
            double seconds,
            Double tokensPerSecond,
            long plannedBytes) {

        int exitCode() {
            return stopped ? INTERRUPTED : 0;
        }
    }

    private final RunOptions options;
    private final Reporter reporter;
    private final Interruption interruption;
    private final TrainingRun run;
    private long begun; // nanoseconds; before anything was loaded
    private long tokens;
    private double stepSeconds; // of these tokens

    private TrainingSession(RunOptions options, Device device, Reporter reporter, Interruption interruption)
            throws IOException {
        this.options = options;
        this.reporter = reporter;
        this.interruption = interruption;
        try {
            this.run = TrainingRun.prepare(options, device);
        } catch (IllegalArgumentException e) { // of options that do not go with the files
            throw new UsageException(e);
        }
    }

    /**
     * Does the run.
     *
     * @param device where, and by whose thread
     * @param interruption until this is closed, a process that is told to end waits
     * @param also is told of everything, too
     * @throws UsageException if the options do not go with the model, the data or the output directory
     */
    static Report run(
            RunOptions options, Device device, Reporter reporter, Interruption interruption, TrainingListener also)
            throws IOException {
        TrainingSession session = new TrainingSession(options, device, reporter, interruption);
        session.announce();
        return session.run(also);
    }

    private void announce() {
        MemoryPlan plan = run.plan();
        reporter.line(
                "model    %s, %,d parameters, %s",
                InWords.name(options.model()), plan.modelParameters(), InWords.describe(run.config(), options.load()));
        int maxLength = DataSet.maxLength(options.maxLength(), run.config());
        reporter.announce(run.train(), maxLength, "data    ", "");
        if (run.eval() != null) {
            reporter.announce(run.eval(), maxLength, "        ", " to measure on");
        }
        reporter.line(
                "adapter  %s of rank %d, %,d parameters (%.2f %%), %,d %s of %,d %s",
                options.lora().useRslora() ? "rsLoRA" : "LoRA",
                options.lora().r(),
                plan.trainable(),
                100.0 * plan.trainable() / plan.modelParameters(),
                run.totalSteps(),
                run.totalSteps() == 1 ? "step" : "steps",
                options.training().documentsPerStep(),
                options.training().documentsPerStep() == 1 ? "document" : "documents");
        if (run.checkpoint() != null) {
            announceResumed();
        }
        Fit fit = new Fit(Fit.Use.TRAINING, plan);
        fit.announce(reporter);
        if (options.training().learningRate() == 0) {
            reporter.line("         with --learning-rate 0 nothing is learnt: the adapter stays as it begins");
        }
        fit.require(plan.wayOut(options));
    }

    private void announceResumed() {
        if (run.doneSteps() == run.totalSteps()) {
            reporter.line("resume   %s, after the last of %,d steps", run.checkpoint(), run.totalSteps());
        } else {
            reporter.line("resume   %s, from step %,d of %,d", run.checkpoint(), run.doneSteps() + 1, run.totalSteps());
        }
    }

    private Report run(TrainingListener also) throws IOException {
        begun = System.nanoTime();
        try {
            Trainer.Outcome outcome = run.run(and(reporter).and(also));
            if (outcome.steps() == 0) {
                reporter.line("stopped before the first step: nothing was learnt, nothing is saved");
            } else {
                reporter.line("%s", describe(outcome));
                reporter.line("adapter  %s%npicture  %s", options.output(), draw());
            }
            return report(outcome);
        } catch (NonFiniteException | DeviceMemoryException e) {
            if (Files.exists(metrics())) { // something was learnt
                draw();
            }
            throw e;
        }
    }

    private String describe(Trainer.Outcome outcome) {
        long steps = outcome.steps();
        int total = run.totalSteps();
        String time = InWords.time(seconds());
        if (steps < total) {
            return String.format(Locale.ROOT, "stopped at step %,d of %,d after %s", steps, total, time);
        }
        if (run.doneSteps() == 0) {
            return String.format(Locale.ROOT, "trained %,d of %,d steps in %s", steps, total, time);
        }
        return run.doneSteps() == steps
                ? String.format(Locale.ROOT, "nothing was left to train: all %,d steps were done", total)
                : String.format(Locale.ROOT, "trained steps %,d to %,d in %s", run.doneSteps() + 1, total, time);
    }

    @Override
    public void onLoaded(FineTuner tuner) {
        interruption.protect(run);
    }

    @Override
    public void onStep(StepReport report) {
        tokens += report.tokens();
        stepSeconds += report.seconds();
    }

    /** Since the run began, by the clock: loading, evaluations and files, too. */
    private double seconds() {
        return (System.nanoTime() - begun) * 1e-9;
    }

    private Path metrics() {
        return options.output().resolve("metrics.jsonl");
    }

    private Path draw() throws IOException {
        Path picture = options.output().resolve("loss.svg");
        String title = "Fine-tuning " + InWords.name(options.model());
        AtomicFiles.write(picture, RunLosses.read(metrics()).draw(title));
        return picture;
    }

    private Report report(Trainer.Outcome outcome) throws IOException {
        RunLosses losses = RunLosses.read(metrics());
        return new Report(
                options.output().toString(),
                outcome.steps(),
                outcome.stopped(),
                losses.trainLoss(),
                losses.evalLossBefore(),
                losses.evalLoss(),
                losses.evalPerplexity(),
                losses.evalTargetTokens(),
                seconds(),
                tokens == 0 ? null : tokens / stepSeconds,
                run.plan().total());
    }
}
