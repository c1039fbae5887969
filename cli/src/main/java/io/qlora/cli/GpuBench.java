package io.qlora.cli;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.bench.CardBench;
import io.qlora.cuda.bench.Report;
import io.qlora.engine.files.AtomicFiles;
import io.qlora.engine.tensor.Accelerators;
import io.qlora.engine.tensor.Device;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.List;
import java.util.regex.Pattern;

/** What {@link BenchGpuCommand} does. */
final class GpuBench {

    /**
     * What is written.
     *
     * @param date when it was measured, UTC
     * @param java the JVM
     */
    record Written(String date, String java, Report report) {}

    private GpuBench() {}

    /** Whether everything on the card was right. */
    static boolean run(String name, String binding, Pattern only, boolean small, Path json, PrintWriter out)
            throws IOException {
        try (Device device = UsageException.of(() -> Accelerators.open(name, binding))) {
            if (!(device instanceof CudaDevice card)) {
                throw new UsageException("bench gpu measures cards, --device " + name + " is none");
            }
            CardBench.Options options = new CardBench.Options(only, small);
            Report report = new CardBench(card, options, line -> {
                        out.println(line);
                        out.flush();
                    })
                    .run(List.of(new GpuSteps()));
            StringWriter text = new StringWriter();
            String date = Instant.now().truncatedTo(ChronoUnit.SECONDS).toString();
            Json.print(new Written(date, Runtime.version().toString(), report), new PrintWriter(text));
            AtomicFiles.write(json, text.toString().getBytes(StandardCharsets.UTF_8));
            out.println();
            out.println((report.passed()
                            ? "Every kernel is right; the figures are in "
                            : "NOT everything is right; see above, and ")
                    + json);
            out.flush();
            return report.passed();
        }
    }
}
