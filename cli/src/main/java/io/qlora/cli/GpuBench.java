package io.qlora.cli;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.bench.CardBench;
import io.qlora.engine.tensor.Accelerators;
import io.qlora.engine.tensor.Device;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.regex.Pattern;

/** What {@link BenchGpuCommand} does. Loads nothing of the CUDA module before there is a card. */
final class GpuBench {

    private GpuBench() {}

    /** Whether everything on the card was right. */
    static boolean run(String name, String binding, Pattern only, boolean small, Path json, PrintWriter out)
            throws IOException {
        try (BenchWatch watch = new BenchWatch("opening the card, where Hopper's own instructions are tried", out);
                Device device = UsageException.of(() -> Accelerators.open(name, binding))) {
            if (!(device instanceof CudaDevice card)) {
                throw new UsageException("bench gpu measures cards, --device " + name + " is none");
            }
            return new GpuBenchRun(json, out, watch).on(card, new CardBench.Options(only, small));
        }
    }
}
