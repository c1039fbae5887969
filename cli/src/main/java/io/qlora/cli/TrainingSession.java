package io.qlora.cli;

import com.fasterxml.jackson.databind.JsonNode;
import io.qlora.engine.files.AtomicFiles;
import io.qlora.trainer.Evaluation;
import io.qlora.trainer.FineTuner;
import io.qlora.trainer.MemoryPlan;
import io.qlora.trainer.MetricsLog;
import io.qlora.trainer.NonFiniteException;
import io.qlora.trainer.RunOptions;
import io.qlora.trainer.StepReport;
import io.qlora.trainer.Trainer;
import io.qlora.trainer.TrainingListener;
import io.qlora.trainer.TrainingRun;
import io.qlora.trainer.data.DataSet;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** A training run in front of a person: says what it will use, shows how it goes, heeds Ctrl-C, draws the picture. */
final class TrainingSession implements TrainingListener {

    /** What a shell expects of a process that SIGINT ended. */
    private static final int INTERRUPTED = 130;

    /** Seconds that Ctrl-C waits for the step under way and the saving. */
    private static final long PATIENCE = 600;

    /** What was achieved; as one JSON object with {@code --json}. */
    record Report(
            String output,
            long steps,
            boolean stopped,
            double trainLoss,
            Double evalLossBefore,
            Double evalLoss,
            Double evalPerplexity,
            Long evalTargetTokens,
            double seconds,
            double tokensPerSecond,
            long plannedBytes) {

        int exitCode() {
            return stopped ? INTERRUPTED : 0;
        }
    }

    private final RunOptions options;
    private final Reporter reporter;
    private final TrainingRun run;
    private Evaluation first;
    private Evaluation last;
    private double trainLoss = Double.NaN;
    private long tokens;
    private double seconds;

    private TrainingSession(RunOptions options, Reporter reporter, TrainingRun run) {
        this.options = options;
        this.reporter = reporter;
        this.run = run;
    }

    /**
     * Does the run.
     *
     * @param also is told of everything, too
     */
    static Report run(RunOptions options, Reporter reporter, TrainingListener also) throws IOException {
        TrainingRun run = TrainingRun.prepare(options);
        TrainingSession session = new TrainingSession(options, reporter, run);
        session.announce();
        return session.run(also);
    }

    private void announce() {
        Machine machine = Machine.inspect();
        reporter.line("%s", machine.summary(options.threads()));
        MemoryPlan plan = run.plan();
        reporter.line("data     %s", describe(run.train(), "to learn from"));
        for (String where : run.train().dropped().stream().limit(5).toList()) {
            reporter.line("         left out, since no target is left within the maximal length: %s", where);
        }
        if (run.eval() != null) {
            reporter.line("         %s", describe(run.eval(), "to measure on"));
        }
        reporter.line(
                "adapter  %,d parameters on a model of %,d (%.2f %%), %d steps",
                plan.trainable(),
                plan.modelParameters(),
                100.0 * plan.trainable() / plan.modelParameters(),
                run.totalSteps());
        reporter.line(
                "memory   weights %s + adapter %s + optimizer %s + activations %s + JVM %s = %s, of %s available",
                Reporter.bytes(plan.weights()),
                Reporter.bytes(plan.adapter()),
                Reporter.bytes(plan.optimizer()),
                Reporter.bytes(plan.activations()),
                Reporter.bytes(plan.jvm()),
                Reporter.bytes(plan.total()),
                Reporter.bytes(plan.available()));
        if (!plan.fits()) {
            throw new IllegalStateException("this run needs " + Reporter.bytes(plan.total()) + " of memory, "
                    + Reporter.bytes(plan.available()) + " are available; " + plan.wayOut(options));
        }
    }

    private static String describe(DataSet data, String purpose) {
        String text = String.format(
                Locale.ROOT,
                "%,d documents %s, %,d tokens, %,d targets",
                data.size(),
                purpose,
                data.tokens(),
                data.targets());
        if (data.cut() > 0) {
            text += String.format(Locale.ROOT, "; %,d cut to the maximal length", data.cut());
        }
        if (!data.dropped().isEmpty()) {
            text += String.format(Locale.ROOT, "; %,d left out", data.dropped().size());
        }
        return text;
    }

    private Report run(TrainingListener also) throws IOException {
        CountDownLatch done = new CountDownLatch(1);
        Thread interrupt = new Thread(() -> stopAndWait(done), "qlora-interrupt");
        Runtime.getRuntime().addShutdownHook(interrupt);
        try (reporter) {
            Trainer.Outcome outcome = run.run(and(reporter).and(also));
            Path picture = draw();
            reporter.line(
                    "%s in %s, adapter in %s, loss in %s",
                    outcome.stopped()
                            ? "stopped after step " + outcome.steps()
                            : "trained " + outcome.steps() + " steps",
                    Reporter.time(seconds),
                    options.output(),
                    picture);
            return report(outcome);
        } catch (NonFiniteException e) {
            reporter.line("the adapter before step %d is in %s", e.step(), options.output());
            throw e;
        } finally {
            done.countDown();
            removeHook(interrupt);
        }
    }

    private void stopAndWait(CountDownLatch done) {
        reporter.line("stopping after this step; what was learnt is saved");
        run.requestStop();
        try {
            done.await(PATIENCE, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static void removeHook(Thread hook) {
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException e) {
            // The process is being ended: the hook has run.
        }
    }

    @Override
    public void onLoaded(FineTuner tuner) {
        reporter.line(
                "model    %s loaded, %s",
                options.model(), Reporter.bytes(tuner.model().weightBytes()));
    }

    @Override
    public void onStep(StepReport report) {
        trainLoss = report.loss();
        tokens += report.tokens();
        seconds += report.seconds();
    }

    @Override
    public void onEvaluation(long step, Evaluation evaluation) {
        first = step == 0 ? evaluation : first;
        last = evaluation;
    }

    private Path draw() throws IOException {
        List<LossChart.Point> training = new ArrayList<>();
        List<LossChart.Point> evaluation = new ArrayList<>();
        for (JsonNode line : MetricsLog.read(options.output().resolve("metrics.jsonl"))) {
            double step = line.path("step").asDouble();
            if (line.has("loss")) {
                training.add(new LossChart.Point(step, line.get("loss").asDouble()));
            } else if (line.has("eval_loss")) {
                evaluation.add(new LossChart.Point(step, line.get("eval_loss").asDouble()));
            }
        }
        Path picture = options.output().resolve("loss.svg");
        Path name = options.model().toAbsolutePath().normalize().getFileName();
        AtomicFiles.write(picture, LossChart.draw("Fine-tuning " + name, training, evaluation));
        return picture;
    }

    private Report report(Trainer.Outcome outcome) {
        return new Report(
                options.output().toString(),
                outcome.steps(),
                outcome.stopped(),
                trainLoss,
                first == null ? null : first.nll(),
                last == null ? null : last.nll(),
                last == null ? null : last.perplexity(),
                last == null ? null : last.targets(),
                seconds,
                seconds == 0 ? 0 : tokens / seconds,
                run.plan().total());
    }
}
