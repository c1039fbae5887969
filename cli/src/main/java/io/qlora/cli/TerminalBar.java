package io.qlora.cli;

import java.io.PrintStream;
import java.time.Duration;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.LongFunction;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;

/** A progress bar on the last line of a terminal. */
final class TerminalBar implements AutoCloseable {

    private static final int INTERVAL = 200; // milliseconds between two pictures of it

    private final ProgressBar bar;

    /**
     * Begins to draw.
     *
     * @param task what goes on, in a word
     * @param from what of it is done already
     * @param elapsed seconds it took until now
     * @param left seconds it will take, by what is done; asked on a thread of its own, for which {@link #close} waits
     */
    TerminalBar(
            PrintStream terminal, String task, long from, long all, double elapsed, LongFunction<OptionalDouble> left) {
        this.bar = new ProgressBarBuilder()
                .setTaskName(task)
                .setInitialMax(all)
                .setStyle(ProgressBarStyle.UNICODE_BLOCK)
                .setUpdateIntervalMillis(INTERVAL)
                .startsFrom(from, duration(elapsed))
                .setConsumer(new TerminalLine(terminal))
                .setEtaFunction(state -> duration(left.apply(state.getCurrent())))
                .build();
    }

    private static Optional<Duration> duration(OptionalDouble seconds) {
        return seconds.isPresent() ? Optional.of(duration(seconds.getAsDouble())) : Optional.empty();
    }

    private static Duration duration(double seconds) {
        return Duration.ofMillis(Math.round(seconds * 1000));
    }

    /** Goes on, and says what else there is to say. */
    void show(long done, String format, Object... arguments) {
        bar.stepTo(done);
        bar.setExtraMessage(" " + String.format(Locale.ROOT, format, arguments));
    }

    /** Takes it away. */
    @Override
    public void close() {
        bar.close();
    }
}
