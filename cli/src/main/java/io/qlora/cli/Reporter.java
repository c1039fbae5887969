package io.qlora.cli;

import io.qlora.engine.tensor.Device;
import io.qlora.llama.LlamaConfig;
import io.qlora.trainer.Evaluation;
import io.qlora.trainer.FineTuner;
import io.qlora.trainer.StepReport;
import io.qlora.trainer.TrainingListener;
import io.qlora.trainer.data.DataSet;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.OptionalDouble;
import java.util.function.LongSupplier;
import picocli.CommandLine;

/**
 * Tells a person how a run goes: lines, and below them on a terminal a progress bar with loss, tokens a second and
 * time left, elsewhere a plain line every so often. All of it goes to standard output, with {@code --json} to standard error. Safe for use by several threads.
 */
final class Reporter implements TrainingListener, AutoCloseable {

    /** How many of the records that are left out are named. */
    private static final int NAMED = 5;

    /** Nanoseconds after which something is said of steps, and of an evaluation, where there is no terminal. */
    private static final long STEP_SILENCE = 60_000_000_000L;

    private static final long EVALUATION_SILENCE = 10_000_000_000L;

    private final PrintWriter out;
    private final PrintStream terminal; // the one that out goes to; null if that is none
    private final boolean verbose;
    private final int loggingSteps;
    private final LongSupplier clock; // nanoseconds
    private final RunPace pace;
    private TerminalBar bar; // or null
    private long begun; // when the model had been loaded
    private EvaluationProgress evaluation; // the last one; or null
    private double lossSince; // the last line
    private int stepsSince;
    private boolean told; // whether there was a line of a step
    private long stepLine; // when the last one was
    private long evaluationLine; // and one of an evaluation

    Reporter(CommandLine command, boolean json, int loggingSteps, int evalSteps) {
        this(
                json ? command.getErr() : command.getOut(),
                TerminalLine.standard(json).orElse(null),
                QloraCommand.verbose(command.getCommandSpec()),
                loggingSteps,
                evalSteps,
                System::nanoTime);
    }

    /**
     * A reporter.
     *
     * @param terminal that {@code out} goes to, for progress bars; null if it does not go to one
     * @param loggingSteps steps from line to line, where there is no terminal
     * @param evalSteps steps from evaluation to evaluation; 0 for one at the end
     * @param clock nanoseconds
     */
    Reporter(
            PrintWriter out,
            PrintStream terminal,
            boolean verbose,
            int loggingSteps,
            int evalSteps,
            LongSupplier clock) {
        this.out = out;
        this.terminal = terminal;
        this.verbose = verbose;
        this.loggingSteps = loggingSteps;
        this.clock = clock;
        this.pace = new RunPace(evalSteps);
        this.begun = clock.getAsLong();
    }

    /** For a command whose results, and nothing else, are on standard output. */
    static Reporter onStandardError(CommandLine command) {
        return new Reporter(command, true, 1, 0);
    }

    /** Says what will run where; and, if told to say more, all that the device has to say of itself. */
    void announce(DeviceOptions options, Device device) {
        line("%s", options.describe(device));
        if (verbose) {
            device.report().stream().skip(1).forEach(more -> line("         %s", more));
        }
    }

    /** Says what it will run on. */
    void announce(ModelOptions model, LlamaConfig config, AdapterOption adapter) {
        line("model    %s, %s", InWords.name(model.directory()), InWords.describe(config, model.load()));
        if (adapter.directory() != null) {
            line("adapter  %s", adapter.directory());
        }
    }

    /** Says what a data set holds, and what of the files it does not. */
    void announce(DataSet data, int maxLength, String label, String purpose) {
        line(
                "%s %,d %s%s, %,d tokens, %,d %s",
                label,
                data.size(),
                data.size() == 1 ? "document" : "documents",
                purpose,
                data.tokens(),
                data.targets(),
                data.targets() == 1 ? "target" : "targets");
        if (data.cut() > 0) {
            line(
                    "         %,d %s longer than %,d tokens and cut",
                    data.cut(), data.cut() == 1 ? "was" : "were", maxLength);
        }
        List<String> dropped = data.dropped();
        if (!dropped.isEmpty()) {
            String more = dropped.size() > NAMED ? " and " + (dropped.size() - NAMED) + " more" : "";
            line(
                    "         left out, no target within %,d tokens: %s%s",
                    maxLength, String.join("; ", dropped.subList(0, Math.min(NAMED, dropped.size()))), more);
        }
    }

    /** A line for a person. */
    synchronized void line(String format, Object... arguments) {
        close();
        out.println(String.format(Locale.ROOT, format, arguments));
        out.flush();
    }

    @Override
    public synchronized void onLoaded(FineTuner tuner) {
        begun = clock.getAsLong();
    }

    @Override
    public synchronized void onStep(StepReport report) {
        pace.add(report);
        if (terminal != null) {
            draw(report);
            return;
        }
        lossSince += report.loss();
        stepsSince++;
        if (!told
                || report.step() % loggingSteps == 0
                || report.step() == report.totalSteps()
                || clock.getAsLong() - stepLine >= STEP_SILENCE) {
            write(report);
        }
    }

    private void write(StepReport report) {
        OptionalDouble left = pace.left(report.step(), report.totalSteps());
        line(
                "step %d/%d  epoch %.2f  loss %.4f  lr %.2e%s",
                report.step(),
                report.totalSteps(),
                report.epoch(),
                lossSince / stepsSince,
                report.learningRate(),
                left.isPresent()
                        ? speed("  ", pace.tokensPerSecond()) + "  " + InWords.time(left.getAsDouble()) + " left"
                        : "  " + InWords.time(report.seconds()) + " for this step");
        told = true;
        stepLine = clock.getAsLong();
        lossSince = 0;
        stepsSince = 0;
    }

    private void draw(StepReport report) {
        if (bar == null) {
            bar = new TerminalBar(
                    terminal,
                    "train",
                    report.step() - 1,
                    report.totalSteps(),
                    seconds(clock.getAsLong() - begun),
                    step -> pace.left(step, report.totalSteps()));
        }
        bar.show(report.step(), "loss %.3f%s", report.loss(), speed(", ", pace.tokensPerSecond()));
    }

    @Override
    public synchronized void onEvaluating(long tokens, long allTokens) {
        long now = clock.getAsLong();
        if (tokens == 0) {
            begin(allTokens, now);
            return;
        }
        evaluation.advance(tokens, now);
        if (terminal != null) {
            draw(evaluation);
        } else if (now - evaluationLine >= EVALUATION_SILENCE && !evaluation.isDone()) {
            OptionalDouble left = evaluation.left(tokens);
            line(
                    "eval     %,d of %,d tokens%s%s",
                    tokens,
                    allTokens,
                    speed("  ", evaluation.tokensPerSecond()),
                    left.isPresent() ? "  " + InWords.time(left.getAsDouble()) + " left" : "");
            evaluationLine = now;
        }
    }

    private void begin(long allTokens, long now) {
        boolean first = evaluation == null;
        evaluation = new EvaluationProgress(allTokens, now);
        evaluationLine = now;
        if (terminal != null) {
            close();
            draw(evaluation);
        } else if (first) {
            line("eval     of %,d tokens has begun", allTokens);
        }
    }

    private void draw(EvaluationProgress progress) {
        if (progress.isDone()) {
            close();
            return;
        }
        if (bar == null) {
            bar = new TerminalBar(
                    terminal, "eval", progress.tokens(), progress.all(), progress.elapsed(), progress::left);
        }
        bar.show(progress.tokens(), "%s", speed("", progress.tokensPerSecond()));
    }

    private static String speed(String before, OptionalDouble tokensPerSecond) {
        return tokensPerSecond.isPresent()
                ? String.format(Locale.ROOT, "%s%.0f tokens/s", before, tokensPerSecond.getAsDouble())
                : "";
    }

    private static double seconds(long nanoseconds) {
        return nanoseconds * 1e-9;
    }

    @Override
    public synchronized void onEvaluation(long step, Evaluation made) {
        boolean followed = evaluation != null && evaluation.isDone();
        pace.addEvaluation(followed ? evaluation.left(0).orElse(made.seconds()) : made.seconds());
        line("eval at step %d  %s", step, InWords.describe(made));
    }

    @Override
    public void onEvaluationCalledOff(long step) {
        line(
                "eval at step %d  not made, interrupted%s",
                step, step == 0 ? "" : "; --resume-from-checkpoint makes up for it");
    }

    @Override
    public void onCheckpoint(long step, Path directory) {
        line("checkpoint in %s", directory);
    }

    /** Takes the progress bar away. */
    @Override
    public synchronized void close() {
        if (bar != null) {
            bar.close();
            bar = null;
        }
    }
}
