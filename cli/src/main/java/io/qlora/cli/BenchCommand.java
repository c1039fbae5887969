package io.qlora.cli;

import com.fasterxml.jackson.annotation.JsonInclude;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Device;
import io.qlora.llama.LlamaConfig;
import io.qlora.llama.LoadOptions;
import io.qlora.trainer.profile.KernelProfile;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.OptionalInt;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** {@code qlora bench}: measures this machine. */
@Command(
        name = "bench",
        description = "Measures what this machine does.",
        subcommands = {BenchCommand.Step.class, BenchGpuCommand.class})
final class BenchCommand implements Runnable {

    @Spec
    private CommandSpec spec;

    @Override
    public void run() {
        throw new ParameterException(
                spec.commandLine(),
                "Which measurement? One of " + spec.subcommands().keySet());
    }

    /** The shapes that are measured, those of the reference stack's own benchmark. */
    enum Shape {
        S134M(768, 12, 12, 12, 2048),
        S1B(2048, 22, 32, 4, 5632);

        private static final int VOCABULARY = 32_000;

        private final int hidden;
        private final int layers;
        private final int heads;
        private final int kvHeads;
        private final int intermediate;

        Shape(int hidden, int layers, int heads, int kvHeads, int intermediate) {
            this.hidden = hidden;
            this.layers = layers;
            this.heads = heads;
            this.kvHeads = kvHeads;
            this.intermediate = intermediate;
        }

        LlamaConfig config() {
            return LlamaConfig.builder()
                    .vocabSize(VOCABULARY)
                    .hiddenSize(hidden)
                    .numHiddenLayers(layers)
                    .numAttentionHeads(heads)
                    .numKeyValueHeads(kvHeads)
                    .intermediateSize(intermediate)
                    .maxPositionEmbeddings(32_768)
                    .bosTokenId(OptionalInt.empty())
                    .dtype(DType.BF16)
                    .build();
        }

        @Override
        public String toString() {
            return name().substring(1).toLowerCase(Locale.ROOT);
        }
    }

    /** {@code qlora bench step}: a training step on random weights. */
    @Command(
            name = "step",
            description = "Measures a training step on random weights of a given shape; prints one JSON line.")
    static final class Step implements Callable<Integer> {

        @Mixin
        private DeviceOptions device;

        @Option(
                names = "--shape",
                paramLabel = "NAME",
                defaultValue = "134m",
                description = "134m or 1b (default: ${DEFAULT-VALUE}).")
        private String shape;

        @Option(
                names = "--tokens",
                paramLabel = "N",
                defaultValue = "256",
                description = "In a step (default: ${DEFAULT-VALUE}).")
        private int tokens;

        @Option(names = "--gradient-checkpointing", description = "Recompute activations on the way back.")
        private boolean checkpointing;

        @Option(names = "--checkpointing", hidden = true)
        private boolean alsoCheckpointing;

        @Option(
                names = "--quantization",
                paramLabel = "KIND",
                defaultValue = "nf4",
                description = "nf4 or none (default: ${DEFAULT-VALUE}).")
        private LoadOptions.Quantization quantization;

        @Option(
                names = "--lora-r",
                paramLabel = "N",
                defaultValue = "16",
                description = "Rank (default: ${DEFAULT-VALUE}).")
        private int rank;

        @Option(
                names = "--steps",
                paramLabel = "N",
                defaultValue = "5",
                description = "Measured, after two (default: ${DEFAULT-VALUE}).")
        private int steps;

        @Option(
                names = "--profile",
                description =
                        "Also say where the time went, kernel by kernel: as a table on standard error, and in the JSON.")
        private boolean profile;

        @Spec
        private CommandSpec spec;

        private KernelProfile kernels;

        /**
         * The fields of the reference stack's benchmark, and what ours adds.
         *
         * @param threads of the processor, if it computes
         * @param firstStepS the first step's seconds, compiling included
         * @param gflop what a step computes at least: {@link StepFlop#LEAST}
         */
        @JsonInclude(JsonInclude.Include.NON_NULL)
        record Report(
                String stack,
                String device,
                String shape,
                int tokens,
                boolean checkpointing,
                Integer threads,
                int rank,
                double tokS,
                double[] stepS,
                long peakRssMb,
                double firstStepS,
                double gflop,
                List<KernelProfile.Row> profile) {}

        @Override
        public Integer call() throws IOException {
            Shape size = Arrays.stream(Shape.values())
                    .filter(s -> s.toString().equals(shape))
                    .findFirst()
                    .orElseThrow(() -> new UsageException(
                            "--shape should be one of " + Arrays.toString(Shape.values()) + ", found " + shape));
            device.check();
            if (tokens < 2 || steps < 1 || rank < 1) {
                throw new UsageException("--tokens should be at least 2, --steps and --lora-r at least 1");
            }
            try (Device opened = device.open()) {
                if (profile && !opened.onHost()) {
                    throw new UsageException(
                            "--profile goes with --device cpu: a card's kernels only begin when called");
                }
                print(size, opened);
            }
            return 0;
        }

        private void print(Shape size, Device opened) throws IOException {
            List<Double> all = measure(size, opened);
            double[] seconds = all.stream()
                    .skip(StepBench.WARM_UP)
                    .mapToDouble(Double::doubleValue)
                    .toArray();
            double[] sorted = seconds.clone();
            Arrays.sort(sorted);
            double median = sorted[sorted.length / 2];
            Report report = new Report(
                    "qlora " + (quantization == LoadOptions.Quantization.NF4 ? "nf4" : "bf16 weights")
                            + (opened.activations() == DType.F32 ? ", float32 computing" : ", bf16 computing"),
                    opened.name(),
                    size.toString(),
                    tokens,
                    checkpointing || alsoCheckpointing,
                    opened.onHost() ? device.threads() : null,
                    rank,
                    Math.round(10 * tokens / median) / 10.0,
                    Arrays.stream(seconds).map(Step::thousandths).toArray(),
                    Machine.peakResidentBytes() >> 20,
                    thousandths(all.getFirst()),
                    thousandths(tokens * StepFlop.LEAST.gflopPerToken(size.config(), tokens)),
                    profile ? rounded(kernels.rows(steps, Arrays.stream(seconds).sum())) : null);
            Json.print(report, spec.commandLine().getOut());
            if (profile) {
                print(report.profile, spec.commandLine().getErr());
            }
        }

        private static double thousandths(double value) {
            return Math.round(value * 1000) / 1000.0;
        }

        private static List<KernelProfile.Row> rounded(List<KernelProfile.Row> rows) {
            return rows.stream()
                    .map(row -> new KernelProfile.Row(
                            row.kernel(),
                            row.calls(),
                            thousandths(row.milliseconds()),
                            thousandths(row.gflopS()),
                            thousandths(row.gbS()),
                            thousandths(row.share())))
                    .toList();
        }

        private static void print(List<KernelProfile.Row> rows, PrintWriter err) {
            err.printf(
                    Locale.ROOT, "%-32s %8s %10s %8s %8s %7s%n", "a step", "calls", "ms", "GFLOP/s", "GB/s", "share");
            for (KernelProfile.Row row : rows) {
                err.printf(
                        Locale.ROOT,
                        "%-32s %8.0f %10.2f %8s %8s %6.1f%%%n",
                        row.kernel(),
                        row.calls(),
                        row.milliseconds(),
                        rate(row.gflopS()),
                        rate(row.gbS()),
                        100 * row.share());
            }
            err.flush();
        }

        private static String rate(double value) {
            return value == 0 ? "" : String.format(Locale.ROOT, "%.1f", value);
        }

        /** Seconds of each step, those of the warm-up included. */
        private List<Double> measure(Shape size, Device opened) throws IOException {
            List<Double> seconds = new ArrayList<>();
            bench(size).run(opened, steps, report -> {
                seconds.add(report.seconds());
                if (profile && report.step() == StepBench.WARM_UP) {
                    kernels = new KernelProfile();
                    opened.observe(kernels);
                }
                return true;
            });
            return seconds;
        }

        private StepBench bench(Shape size) {
            return new StepBench(size.config(), quantization, rank, 1, tokens, checkpointing || alsoCheckpointing);
        }
    }
}
