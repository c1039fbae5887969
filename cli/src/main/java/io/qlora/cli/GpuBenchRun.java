package io.qlora.cli;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.bench.CardBench;
import io.qlora.cuda.bench.Report;
import io.qlora.engine.files.AtomicFiles;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.List;

/** One bench of a card: prints the tables, and keeps what there is already in a file. */
final class GpuBenchRun implements CardBench.Listener, AutoCloseable {

    /**
     * What is written.
     *
     * @param date when it was measured, UTC
     * @param java the JVM
     * @param complete whether that is all; false as long as more is to come, and if it never came
     */
    record Written(String date, String java, boolean complete, Report report) {}

    /** After so long without a word, what is being done is taken for a kernel that never ends. */
    private static final Duration PATIENCE = Duration.ofMinutes(2);

    private final Path json;
    private final PrintWriter out;
    private final Thread watch;
    private volatile long heard = System.nanoTime();
    private volatile Report soFar; // null: nothing yet
    private volatile String doing = "opening the card, where Hopper's own instructions are tried";

    /** Begins to watch; to be made before the card is opened, since that may already take for ever. */
    GpuBenchRun(Path json, PrintWriter out) {
        this.json = json;
        this.out = out;
        this.watch = Thread.ofPlatform().daemon().name("qlora-bench-watch").unstarted(this::watch);
        watch.start();
    }

    /** Whether everything on the card was right. */
    boolean on(CudaDevice card, CardBench.Options options) throws IOException {
        GpuSteps steps = new GpuSteps(card.driver().memoryInfo().free());
        Report report = new CardBench(card, options, this).run(List.of(steps));
        close(); // what is written now is all
        write(report, true);
        out.println();
        out.println((report.passed()
                        ? "Every kernel is right; the figures are in "
                        : "NOT everything is right; see above, and ")
                + json);
        out.flush();
        return report.passed();
    }

    @Override
    public void line(String line) {
        heard = System.nanoTime();
        out.println(line);
        out.flush();
    }

    /** What is there already is kept on disk: the process may be ended from outside, or never get on. */
    @Override
    public void next(Report report, String next) {
        heard = System.nanoTime();
        soFar = report;
        doing = next;
        try {
            write(report, false);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void write(Report report, boolean complete) throws IOException {
        StringWriter text = new StringWriter();
        String date = Instant.now().truncatedTo(ChronoUnit.SECONDS).toString();
        Json.print(new Written(date, Runtime.version().toString(), complete, report), new PrintWriter(text));
        AtomicFiles.write(json, text.toString());
    }

    /** Ends the process when a kernel does not: the thread that waits for it in the driver cannot be interrupted. */
    private void watch() {
        try {
            while (System.nanoTime() - heard < PATIENCE.toNanos()) {
                Thread.sleep(Duration.ofSeconds(1));
            }
            String why = doing + ": nothing was heard of it for " + PATIENCE.toMinutes()
                    + " minutes, the rest was left out; --only chooses what is done, and"
                    + " -Dqlora.cuda.wgmma=false does without Hopper's own instructions";
            line("FAILED " + why);
            if (soFar != null) {
                write(soFar.failed(why), false);
            }
        } catch (InterruptedException e) {
            return; // all is done
        } catch (IOException e) {
            line(e.getMessage());
        }
        Runtime.getRuntime().halt(Failures.FAILED);
    }

    /** Ends the watch. */
    @Override
    public void close() {
        watch.interrupt();
    }
}
