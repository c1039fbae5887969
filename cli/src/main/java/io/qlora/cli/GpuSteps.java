package io.qlora.cli;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.bench.CardBench;
import io.qlora.cuda.bench.Figure;
import io.qlora.cuda.bench.LaunchWaits;
import io.qlora.engine.tensor.DType;
import io.qlora.llama.LlamaConfig;
import io.qlora.llama.LoadOptions;
import io.qlora.trainer.StepReport;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.OptionalInt;
import java.util.function.Consumer;

/** Training steps on random weights made on the card: rank 16 on all linears, of the shapes of Llama 3. */
final class GpuSteps implements CardBench.Part {

    private static final int RANK = 16;
    private static final int STEPS = 5; // measured
    private static final double BUDGET_SECONDS = 20; // after which no further step is begun
    private static final double GIB = 1L << 30;
    private static final double WHOLE_70B_GIB = 60; // of the card, to be sure of having room

    /** What a run showed: the median step's seconds, and what it took of the card's memory, bytes. */
    private record Result(double seconds, long bytes) {

        /** Tokens a second, 0 if the clock did not move. */
        double perSecond(StepBench run) {
            return seconds == 0 ? 0 : run.documents() * run.tokens() / seconds;
        }
    }

    private final long free;

    /**
     * Steps on a card.
     *
     * @param free what the card had free before anything was done on it, bytes: what is taken since then, the kernels' code
     *     and libraries' memory included, is what a run takes
     */
    GpuSteps(long free) {
        this.free = free;
    }

    @Override
    public String name() {
        return "steps";
    }

    @Override
    public void measure(CudaDevice card, boolean small, CardBench.Findings findings) {
        LlamaConfig eight = small ? config(2, 64, 4, 2, 96, 160) : config(32, 4096, 32, 8, 14_336, 128_256);
        StepBench whole = llama(eight, LoadOptions.Quantization.NF4, 2, small ? 24 : 4096, false);
        StepBench recomputed = llama(eight, LoadOptions.Quantization.NF4, 1, small ? 16 : 2048, true);
        double[] nf4 = new double[1];
        findings.attempt("QLoRA", () -> nf4[0] = speed(card, whole, "QLoRA", 14_600, findings));
        findings.attempt("memory", () -> memory(card, recomputed, findings));
        findings.attempt("70B", () -> seventy(card, small, findings));
        findings.attempt("bf16 LoRA", () -> {
            StepBench dense = llama(eight, LoadOptions.Quantization.NONE, whole.documents(), whole.tokens(), false);
            double bf16 = speed(card, dense, "bf16 LoRA", Double.NaN, findings);
            if (nf4[0] > 0 && bf16 > 0) {
                findings.add(Figure.atLeast(0.95, "QLoRA against our own bf16 LoRA", nf4[0] / bf16, "ratio", ""));
            }
        });
        findings.attempt("waits", () -> waits(card, whole, findings));
        findings.attempt("waits with checkpointing", () -> waits(card, recomputed, findings));
    }

    private static StepBench llama(
            LlamaConfig config,
            LoadOptions.Quantization quantization,
            int documents,
            int tokens,
            boolean checkpointing) {
        return new StepBench(config, quantization, RANK, documents, tokens, checkpointing);
    }

    private static String shape(StepBench run) {
        return run.documents() + " × " + run.tokens() + " tokens";
    }

    private static LlamaConfig config(int layers, int hidden, int heads, int kvHeads, int feedForward, int vocabulary) {
        return LlamaConfig.builder()
                .vocabSize(vocabulary)
                .hiddenSize(hidden)
                .numHiddenLayers(layers)
                .numAttentionHeads(heads)
                .numKeyValueHeads(kvHeads)
                .intermediateSize(feedForward)
                .maxPositionEmbeddings(8192)
                .bosTokenId(OptionalInt.empty())
                .dtype(DType.BF16)
                .build();
    }

    /** Tokens a second, 0 if the clock did not move. */
    private double speed(CudaDevice card, StepBench run, String what, double aim, CardBench.Findings findings) {
        Result result = run(card, run, report -> {});
        double perSecond = result.perSecond(run);
        double gflop = StepFlop.SCORES_TWICE.gflopPerToken(run.config(), run.tokens()); // as the aims are given
        String note = String.format(
                Locale.ROOT,
                "%.1f TFLOP/s at %.1f GFLOP a token, %.1f GiB",
                1e-3 * perSecond * gflop,
                gflop,
                result.bytes / GIB);
        String name = "training step, " + shape(run) + ", " + what;
        findings.add(
                Double.isNaN(aim)
                        ? Figure.of(name, perSecond, "tokens/s", note)
                        : Figure.atLeast(aim, name, perSecond, "tokens/s", note));
        return perSecond;
    }

    private void memory(CudaDevice card, StepBench run, CardBench.Findings findings) {
        Result result = run(card, run, report -> {});
        String name = "peak memory, " + run.tokens() + " tokens, checkpointing";
        findings.add(Figure.atMost(8, name, result.bytes / GIB, "GiB", note(result, run)));
    }

    private static String note(Result result, StepBench run) {
        return String.format(Locale.ROOT, "beside CUDA's own context; %.0f tokens/s", result.perSecond(run));
    }

    private void waits(CudaDevice card, StepBench run, CardBench.Findings findings) {
        try (LaunchWaits waits = new LaunchWaits(card)) {
            double[] share = new double[1];
            run(waits.card(), run, report -> {
                if (report.step() == StepBench.WARM_UP) {
                    waits.start();
                } else if (report.step() == StepBench.WARM_UP + 1) {
                    share[0] = waits.stop();
                }
            });
            findings.add(Figure.atMost(
                    0.03,
                    "time the card waits for launches, " + shape(run) + (run.checkpointing() ? ", checkpointing" : ""),
                    share[0],
                    "share",
                    "at most: events around each of " + waits.launches() + " launches make the host slower"));
        }
    }

    /** The 70B shape whole where there is room, and otherwise by what a layer takes. */
    private void seventy(CudaDevice card, boolean small, CardBench.Findings findings) {
        int layers = small ? 3 : 80;
        boolean whole = small || card.driver().memoryInfo().free() >= WHOLE_70B_GIB * GIB;
        double bytes;
        String note;
        if (whole) {
            StepBench run = seventy(layers, small);
            Result result = run(card, run, report -> {});
            bytes = result.bytes;
            note = "whole, " + note(result, run);
        } else {
            double two = run(card, seventy(2, false), report -> {}).bytes;
            double four = run(card, seventy(4, false), report -> {}).bytes;
            bytes = two + (layers - 2) * (four - two) / 2;
            note = "extrapolated from 2 and 4 of its 80 layers";
        }
        findings.add(
                Figure.atMost(46, "peak memory, 70B shape, 2,048 tokens, checkpointing", bytes / GIB, "GiB", note));
    }

    private static StepBench seventy(int layers, boolean small) {
        LlamaConfig config = small ? config(layers, 64, 4, 2, 96, 160) : config(layers, 8192, 64, 8, 28_672, 128_256);
        return llama(config, LoadOptions.Quantization.NF4, 1, small ? 16 : 2048, true);
    }

    /** Trains for some steps, each of which is told. */
    private Result run(CudaDevice card, StepBench run, Consumer<StepReport> told) {
        Stopwatch watch = new Stopwatch(card, told);
        try {
            run.run(card, STEPS, watch);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        return watch.result;
    }

    /** Times steps until they have taken long enough, and sees what they take of the card. */
    private final class Stopwatch implements StepBench.Watch {

        private final CudaDevice card;
        private final Consumer<StepReport> told;
        private final List<Double> seconds = new ArrayList<>();
        private Result result;

        Stopwatch(CudaDevice card, Consumer<StepReport> told) {
            this.card = card;
            this.told = told;
        }

        @Override
        public boolean next(StepReport report) {
            told.accept(report);
            if (report.step() > StepBench.WARM_UP) {
                seconds.add(report.seconds());
            }
            return seconds.stream().mapToDouble(Double::doubleValue).sum() <= BUDGET_SECONDS;
        }

        @Override
        public void end() {
            card.finish();
            Collections.sort(seconds);
            double median = seconds.isEmpty() ? 0 : seconds.get(seconds.size() / 2);
            result = new Result(median, free - card.driver().memoryInfo().free());
        }
    }
}
