package io.qlora.cli;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.bench.CardBench;
import io.qlora.cuda.bench.Figure;
import io.qlora.cuda.bench.LaunchWaits;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.tensor.DType;
import io.qlora.llama.LlamaConfig;
import io.qlora.llama.LlamaModel;
import io.qlora.llama.LoadOptions;
import io.qlora.lora.LoraAdapter;
import io.qlora.lora.LoraConfig;
import io.qlora.trainer.StepReport;
import io.qlora.trainer.Trainer;
import io.qlora.trainer.TrainingConfig;
import io.qlora.trainer.TrainingListener;
import io.qlora.trainer.data.DataSet;
import io.qlora.trainer.data.Document;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.OptionalInt;
import java.util.Random;

/** Training steps on random weights made on the card: rank 16 on all linears, of the shapes of Llama 3. */
final class GpuSteps implements CardBench.Part {

    private static final int RANK = 16;
    private static final int WARM_UP = 2; // steps
    private static final int STEPS = 5; // measured
    private static final double BUDGET_SECONDS = 20; // after which no further step is begun
    private static final double GIB = 1L << 30;
    private static final double WHOLE_70B_GIB = 60; // of the card, to be sure of having room

    /**
     * What is trained.
     *
     * @param documents in a step
     * @param tokens in a document
     */
    private record Run(
            LlamaConfig config,
            LoadOptions.Quantization quantization,
            int documents,
            int tokens,
            boolean checkpointing) {

        String shape() {
            return documents + " × " + tokens + " tokens";
        }

        Run with(LoadOptions.Quantization other) {
            return new Run(config, other, documents, tokens, checkpointing);
        }

        /**
         * 10⁹ floating-point operations a token: 4 for each frozen weight, the head counted, the embedding not; 6 for each of
         * an adapter's; and attention's six products, of each query with each key it sees.
         */
        double gflopPerToken() {
            double c = config.hiddenSize();
            double kv = c * config.numKeyValueHeads() / config.numAttentionHeads();
            double f = config.intermediateSize();
            double layers = config.numHiddenLayers();
            double linears = layers * (2 * c * c + 2 * c * kv + 3 * c * f);
            double adapters = layers * RANK * (4 * c + 2 * (c + kv) + 3 * (c + f));
            double attention = layers * 6 * 2 * c * (tokens + 1) / 2;
            return 1e-9 * (4 * (linears + config.vocabSize() * c) + 6 * adapters + attention);
        }
    }

    /** What a run showed: the median step's seconds, and what it took of the card's memory, bytes. */
    private record Result(double seconds, long bytes) {

        /** Tokens a second, 0 if the clock did not move. */
        double perSecond(Run run) {
            return seconds == 0 ? 0 : run.documents * run.tokens / seconds;
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
        Run whole = new Run(eight, LoadOptions.Quantization.NF4, 2, small ? 24 : 4096, false);
        Run recomputed = new Run(eight, LoadOptions.Quantization.NF4, 1, small ? 16 : 2048, true);
        double[] nf4 = new double[1];
        findings.attempt("QLoRA", () -> nf4[0] = speed(card, whole, "QLoRA", 14_600, findings));
        findings.attempt("memory", () -> memory(card, recomputed, findings));
        findings.attempt("70B", () -> seventy(card, small, findings));
        findings.attempt("bf16 LoRA", () -> {
            Run dense = whole.with(LoadOptions.Quantization.NONE);
            double bf16 = speed(card, dense, "bf16 LoRA", Double.NaN, findings);
            if (nf4[0] > 0 && bf16 > 0) {
                findings.add(Figure.atLeast(0.95, "QLoRA against our own bf16 LoRA", nf4[0] / bf16, "ratio", ""));
            }
        });
        findings.attempt("waits", () -> waits(card, whole, findings));
        findings.attempt("waits with checkpointing", () -> waits(card, recomputed, findings));
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
    private double speed(CudaDevice card, Run run, String what, double aim, CardBench.Findings findings) {
        Result result = run(card, run, null);
        double perSecond = result.perSecond(run);
        String note = String.format(
                Locale.ROOT,
                "%.1f TFLOP/s at %.1f GFLOP a token, %.1f GiB",
                1e-3 * perSecond * run.gflopPerToken(),
                run.gflopPerToken(),
                result.bytes / GIB);
        String name = "training step, " + run.shape() + ", " + what;
        findings.add(
                Double.isNaN(aim)
                        ? Figure.of(name, perSecond, "tokens/s", note)
                        : Figure.atLeast(aim, name, perSecond, "tokens/s", note));
        return perSecond;
    }

    private void memory(CudaDevice card, Run run, CardBench.Findings findings) {
        Result result = run(card, run, null);
        String name = "peak memory, " + run.tokens + " tokens, checkpointing";
        findings.add(Figure.atMost(8, name, result.bytes / GIB, "GiB", note(result, run)));
    }

    private static String note(Result result, Run run) {
        return String.format(Locale.ROOT, "beside CUDA's own context; %.0f tokens/s", result.perSecond(run));
    }

    private void waits(CudaDevice card, Run run, CardBench.Findings findings) {
        try (LaunchWaits waits = new LaunchWaits(card)) {
            double[] share = new double[1];
            run(waits.card(), run, new TrainingListener() {
                @Override
                public void onStep(StepReport report) {
                    if (report.step() == WARM_UP) {
                        waits.start();
                    } else if (report.step() == WARM_UP + 1) {
                        share[0] = waits.stop();
                    }
                }
            });
            findings.add(Figure.atMost(
                    0.03,
                    "time the card waits for launches, " + run.shape() + (run.checkpointing ? ", checkpointing" : ""),
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
            Run run = seventy(layers, small);
            Result result = run(card, run, null);
            bytes = result.bytes;
            note = "whole, " + note(result, run);
        } else {
            double two = run(card, seventy(2, false), null).bytes;
            double four = run(card, seventy(4, false), null).bytes;
            bytes = two + (layers - 2) * (four - two) / 2;
            note = "extrapolated from 2 and 4 of its 80 layers";
        }
        findings.add(
                Figure.atMost(46, "peak memory, 70B shape, 2,048 tokens, checkpointing", bytes / GIB, "GiB", note));
    }

    private static Run seventy(int layers, boolean small) {
        LlamaConfig config = small ? config(layers, 64, 4, 2, 96, 160) : config(layers, 8192, 64, 8, 28_672, 128_256);
        return new Run(config, LoadOptions.Quantization.NF4, 1, small ? 16 : 2048, true);
    }

    /** Trains for some steps; {@code listener} may be null. */
    private Result run(CudaDevice card, Run run, TrainingListener listener) {
        LoadOptions options =
                LoadOptions.builder().quantization(run.quantization).build();
        LoraConfig lora = LoraConfig.builder().r(RANK).loraAlpha(2.0 * RANK).build();
        TrainingConfig training = TrainingConfig.builder()
                .learningRate(1e-4)
                .batchSize(run.documents)
                .maxSteps(WARM_UP + STEPS)
                .gradientCheckpointing(run.checkpointing)
                .build();
        List<Double> seconds = new ArrayList<>();
        try (LlamaModel model = LlamaModel.synthetic(run.config, options, 1, card);
                ModelMemory memory = new ModelMemory(card)) {
            LoraAdapter adapter = LoraAdapter.create(lora, model.linears(), memory, 1);
            adapter.attach();
            try (Trainer trainer = new Trainer(model, adapter.parameters(), training)) {
                trainer.train(documents(run), null, 0, null, new TrainingListener() {
                    @Override
                    public void onStep(StepReport report) {
                        if (listener != null) {
                            listener.onStep(report);
                        }
                        if (report.step() > WARM_UP) {
                            seconds.add(report.seconds());
                        }
                        if (seconds.stream().mapToDouble(Double::doubleValue).sum() > BUDGET_SECONDS) {
                            trainer.requestStop();
                        }
                    }
                });
                card.finish();
                Collections.sort(seconds);
                double median = seconds.isEmpty() ? 0 : seconds.get(seconds.size() / 2);
                return new Result(median, free - card.driver().memoryInfo().free());
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static DataSet documents(Run run) {
        Random random = new Random(1);
        List<Document> documents = new ArrayList<>();
        for (int d = 0; d < run.documents; d++) {
            boolean[] targets = new boolean[run.tokens];
            Arrays.fill(targets, 1, run.tokens, true);
            int[] ids = random.ints(run.tokens, 0, run.config.vocabSize()).toArray();
            documents.add(new Document(ids, targets));
        }
        return DataSet.of(documents);
    }
}
