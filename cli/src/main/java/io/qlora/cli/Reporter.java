package io.qlora.cli;

import io.qlora.trainer.Evaluation;
import io.qlora.trainer.StepReport;
import io.qlora.trainer.TrainingListener;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Locale;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import picocli.CommandLine;

/**
 * Tells a person how a run goes: on a terminal a progress bar with loss, tokens a second and time left, elsewhere a plain
 * line every so often. With {@code --json} all of it goes to standard error.
 */
final class Reporter implements TrainingListener, AutoCloseable {

    private final PrintWriter out;
    private final boolean terminal;
    private final int loggingSteps;
    private ProgressBar bar;
    private double tokensPerSecond; // a moving average
    private double lossSince; // the last line
    private int stepsSince;

    Reporter(CommandLine command, boolean json, int loggingSteps) {
        this.out = json ? command.getErr() : command.getOut();
        this.terminal = System.console() != null && System.console().isTerminal();
        this.loggingSteps = loggingSteps;
    }

    /** A line for a person. */
    void line(String format, Object... arguments) {
        if (bar != null) {
            bar.close();
            bar = null;
        }
        out.println(String.format(Locale.ROOT, format, arguments));
        out.flush();
    }

    @Override
    public void onStep(StepReport report) {
        double rate = report.tokens() / report.seconds();
        tokensPerSecond = tokensPerSecond == 0 ? rate : 0.9 * tokensPerSecond + 0.1 * rate;
        if (terminal) {
            progress(report);
            return;
        }
        if (stepsSince++ == 0) {
            lossSince = 0;
        }
        lossSince += report.loss();
        if (stepsSince == loggingSteps || report.step() == report.totalSteps()) {
            double left = (report.totalSteps() - report.step()) * report.tokens() / tokensPerSecond;
            line(
                    "step %d/%d  epoch %.2f  loss %.4f  lr %.2e  %.0f tokens/s  %s left",
                    report.step(),
                    report.totalSteps(),
                    report.epoch(),
                    lossSince / stepsSince,
                    report.learningRate(),
                    tokensPerSecond,
                    time(left));
            stepsSince = 0;
        }
    }

    private void progress(StepReport report) {
        if (bar == null) {
            bar = new ProgressBarBuilder()
                    .setTaskName("training")
                    .setInitialMax(report.totalSteps())
                    .setStyle(ProgressBarStyle.UNICODE_BLOCK)
                    .setUpdateIntervalMillis(200)
                    .startsFrom(report.step() - 1, Duration.ZERO)
                    .build();
        }
        bar.stepTo(report.step());
        bar.setExtraMessage(String.format(Locale.ROOT, " loss %.3f, %.0f tokens/s", report.loss(), tokensPerSecond));
        if (report.step() == report.totalSteps()) {
            bar.close();
            bar = null;
        }
    }

    @Override
    public void onEvaluation(long step, Evaluation evaluation) {
        line("%s  %s", step == 0 ? "before training" : "after step " + step, describe(evaluation));
    }

    @Override
    public void onCheckpoint(long step, Path directory) {
        line("checkpoint in %s", directory);
    }

    /** As in reports: the loss of an evaluation, and how sure the model is. */
    static String describe(Evaluation evaluation) {
        return String.format(
                Locale.ROOT,
                "evaluation loss %.4f nats per target token, perplexity %.2f (%d targets)",
                evaluation.nll(),
                evaluation.perplexity(),
                evaluation.targets());
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

    @Override
    public void close() {
        if (bar != null) {
            bar.close();
            bar = null;
        }
    }
}
