package io.qlora.cli;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.bench.CardBench;
import io.qlora.cuda.bench.Selection;
import io.qlora.engine.tensor.Accelerators;
import io.qlora.engine.tensor.Device;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Set;
import java.util.regex.Pattern;

/** What {@link BenchGpuCommand} does. Loads nothing of the CUDA module before there is a card. */
final class GpuBench {

    private static final Duration PATIENCE = Duration.ofMinutes(2);

    private GpuBench() {}

    /**
     * What is asked for.
     *
     * @param device the card
     * @param binding how CUDA is called; null for the default
     * @param patience after which a kernel is taken for one that never ends; null for the default
     */
    record Asked(
            String device,
            String binding,
            Pattern only,
            Set<String> parts,
            String after,
            String alone,
            boolean small,
            Duration patience) {}

    /** Whether everything on the card was right. */
    static boolean run(Asked asked, Path json, PrintWriter out) throws IOException {
        if (asked.device.equals("cpu")) {
            throw noCard(asked.device);
        }
        boolean told = asked.patience != null;
        Duration patience = told ? asked.patience : PATIENCE;
        String opening = "opening the card, where Hopper's own instructions are tried";
        try (BenchWatch watch = new BenchWatch(patience, opening, out);
                Device device = UsageException.of(() -> Accelerators.open(asked.device, asked.binding))) {
            if (!(device instanceof CudaDevice card)) {
                throw noCard(asked.device);
            }
            Selection what = new Selection(asked.only, asked.parts, asked.after, asked.alone);
            return new GpuBenchRun(json, out, watch, told).on(card, new CardBench.Options(what, asked.small));
        }
    }

    private static UsageException noCard(String name) {
        return new UsageException("bench gpu measures cards, --device " + name + " is none");
    }
}
