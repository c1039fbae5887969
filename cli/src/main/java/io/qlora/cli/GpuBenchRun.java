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
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.List;

/** One bench of a card: prints the tables, and keeps what there is already in a file. */
final class GpuBenchRun implements CardBench.Listener {

    /**
     * What is written.
     *
     * @param date when it was measured, UTC
     * @param java the JVM
     * @param complete whether that is all; false as long as more is to come, and if it never came
     * @param next what was begun and has not come to its end, or the card was lost in; null if nothing
     */
    record Written(String date, String java, boolean complete, String next, Report report) {}

    private final Path json;
    private final PrintWriter out;
    private final BenchWatch watch;
    private final boolean told;

    /** With {@code told} what is begun is printed, too. */
    GpuBenchRun(Path json, PrintWriter out, BenchWatch watch, boolean told) {
        this.told = told;
        this.json = json;
        this.out = out;
        this.watch = watch;
    }

    /** Whether everything on the card was right. */
    boolean on(CudaDevice card, CardBench.Options options) throws IOException {
        watch.ask(card::unfinished, card::launches);
        GpuSteps steps = new GpuSteps(card.driver().memoryInfo().free());
        Report report = new CardBench(card, options, this).run(List.of(steps));
        watch.close(); // what is written now is all
        write(report, report.lostAt() == null, report.lostAt());
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
        watch.hear();
        out.println(line);
        out.flush();
    }

    /** What is there already is kept on disk: the process may be ended from outside, or never get on. */
    @Override
    public void next(Report report, String next) {
        watch.begin(next);
        watch.atLast(why -> keep(report.failed(why), next));
        keep(report, next);
        if (told) {
            line("begun: " + next);
        }
    }

    @Override
    public void alive() {
        watch.hear();
    }

    private void keep(Report report, String next) {
        try {
            write(report, false, next);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void write(Report report, boolean complete, String next) throws IOException {
        StringWriter text = new StringWriter();
        String date = Instant.now().truncatedTo(ChronoUnit.SECONDS).toString();
        Json.print(new Written(date, Runtime.version().toString(), complete, next, report), new PrintWriter(text));
        AtomicFiles.write(json, text.toString());
    }
}
