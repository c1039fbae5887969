package io.qlora.cli;

import io.qlora.engine.tensor.Device;
import io.qlora.llama.LlamaConfig;
import io.qlora.llama.LoadOptions;
import io.qlora.trainer.Evaluation;
import io.qlora.trainer.StepReport;
import io.qlora.trainer.TrainingListener;
import io.qlora.trainer.data.DataSet;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import picocli.CommandLine;

/**
 * Tells a person how a run goes: on a terminal a progress bar with loss, tokens a second and time left, elsewhere a plain
 * line every so often. With {@code --json} all of it goes to standard error. Safe for use by several threads.
 */
final class Reporter implements TrainingListener, AutoCloseable {

    /** How many of the records that are left out are named. */
    private static final int NAMED = 5;

    /** The share of the newest step in moving averages. */
    private static final double NEW = 0.1;

    private final PrintWriter out;
    private final boolean terminal;
    private final boolean verbose;
    private final int loggingSteps;
    private ProgressBar bar;
    private double seconds; // of all steps
    private double tokensPerSecond; // a moving average
    private volatile double secondsPerStep; // a moving average; read by the progress bar's thread, too
    private double lossSince; // the last line
    private int stepsSince;

    Reporter(CommandLine command, boolean json, int loggingSteps) {
        this.out = json ? command.getErr() : command.getOut();
        this.terminal = TerminalLine.isPresent();
        this.verbose = QloraCommand.verbose(command.getCommandSpec());
        this.loggingSteps = loggingSteps;
    }

    /** For a command whose results, and nothing else, are on standard output. */
    static Reporter onStandardError(CommandLine command) {
        return new Reporter(command, true, 1);
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
        line("model    %s, %s", name(model.directory()), describe(config, model.load()));
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
    public synchronized void onStep(StepReport report) {
        tokensPerSecond = average(tokensPerSecond, report.tokens() / report.seconds());
        seconds += report.seconds();
        secondsPerStep = average(secondsPerStep, report.seconds());
        if (terminal) {
            progress(report);
            return;
        }
        lossSince += report.loss();
        stepsSince++;
        if (stepsSince == loggingSteps || report.step() == report.totalSteps()) {
            line(
                    "step %d/%d  epoch %.2f  loss %.4f  lr %.2e  %.0f tokens/s  %s left",
                    report.step(),
                    report.totalSteps(),
                    report.epoch(),
                    lossSince / stepsSince,
                    report.learningRate(),
                    tokensPerSecond,
                    time((report.totalSteps() - report.step()) * secondsPerStep));
            lossSince = 0;
            stepsSince = 0;
        }
    }

    private static double average(double before, double now) {
        return before == 0 ? now : (1 - NEW) * before + NEW * now;
    }

    /** Asked by the progress bar's thread, for which its closing waits: not synchronized. */
    private Duration left(long steps) {
        return Duration.ofMillis(Math.round(steps * secondsPerStep * 1000));
    }

    private void progress(StepReport report) {
        if (bar == null) {
            bar = new ProgressBarBuilder()
                    .setTaskName("train")
                    .setInitialMax(report.totalSteps())
                    .setStyle(ProgressBarStyle.UNICODE_BLOCK)
                    .setUpdateIntervalMillis(200)
                    .startsFrom(report.step() - 1, Duration.ofMillis(Math.round(seconds * 1000)))
                    .setConsumer(new TerminalLine(System.err))
                    .setEtaFunction(state -> Optional.of(left(state.getMax() - state.getCurrent())))
                    .build();
        }
        bar.stepTo(report.step());
        bar.setExtraMessage(String.format(Locale.ROOT, " loss %.3f, %.0f tokens/s", report.loss(), tokensPerSecond));
    }

    @Override
    public void onEvaluation(long step, Evaluation evaluation) {
        line("eval at step %d  %s", step, describe(evaluation));
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

    /** As in reports: the loss of an evaluation, and how sure the model is. */
    static String describe(Evaluation evaluation) {
        return String.format(
                Locale.ROOT,
                "%.4f nats per target token, perplexity %.2f (%,d targets)",
                evaluation.nll(),
                evaluation.perplexity(),
                evaluation.targets());
    }

    /** As in reports: the last part of a path. */
    static String name(Path path) {
        Path name = path.toAbsolutePath().normalize().getFileName();
        return name == null ? path.toString() : name.toString();
    }

    /** As in reports: how a model's weights are kept. */
    static String describe(LlamaConfig config, LoadOptions options) {
        if (options.quantization() == LoadOptions.Quantization.NONE) {
            return "linears as stored, in " + config.dtype();
        }
        if (config.bitsAndBytes() != null) {
            return "linears in nf4 as stored";
        }
        return "linears in nf4" + (options.doubleQuant() ? ", double quantised" : "");
    }

    /** As in 1:02:03 or 2:03. */
    static String time(double seconds) {
        long whole = Math.round(seconds);
        return whole >= 3600
                ? String.format(Locale.ROOT, "%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60)
                : String.format(Locale.ROOT, "%d:%02d", whole / 60, whole % 60);
    }

    /** As in 1.5 GiB. */
    static String bytes(double bytes) {
        if (bytes >= 1L << 30) {
            return String.format(Locale.ROOT, "%.2f GiB", bytes / (1L << 30));
        }
        if (bytes >= 1L << 20) {
            return String.format(Locale.ROOT, "%.1f MiB", bytes / (1L << 20));
        }
        return String.format(Locale.ROOT, "%.1f KiB", bytes / (1L << 10));
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
