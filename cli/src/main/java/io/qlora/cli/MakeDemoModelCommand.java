package io.qlora.cli;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.files.AtomicFiles;
import io.qlora.engine.optim.LearningRate;
import io.qlora.engine.safetensors.JsonFiles;
import io.qlora.engine.tensor.DType;
import io.qlora.llama.LlamaConfig;
import io.qlora.llama.LlamaModel;
import io.qlora.llama.LlamaTokenizer;
import io.qlora.trainer.StepReport;
import io.qlora.trainer.Trainer;
import io.qlora.trainer.TrainingConfig;
import io.qlora.trainer.TrainingListener;
import io.qlora.trainer.data.DataSet;
import io.qlora.trainer.data.Document;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.Random;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/**
 * {@code qlora make-demo-model}: makes what the demo starts from, out of nothing: writes stories of {@link DemoWorld}, learns
 * a vocabulary from them, and trains a small Llama on them from random weights with this project's own engine. See
 * docs/demo-model.md.
 */
@Command(
        name = "make-demo-model",
        hidden = true,
        description = "Makes the demo's base model from scratch: stories, vocabulary, and a Llama trained on them.")
final class MakeDemoModelCommand implements Runnable {

    private static final int VOCABULARY = 512;
    private static final int TOKENIZER_STORIES = 2_000;

    @Option(names = "--output", required = true, paramLabel = "DIR", description = "Where the model goes.")
    private Path output;

    @Option(
            names = "--stories",
            paramLabel = "N",
            defaultValue = "60000",
            description = "How many to write (default: ${DEFAULT-VALUE}).")
    private int stories;

    @Option(
            names = "--batch-size",
            paramLabel = "N",
            defaultValue = "32",
            description = "Stories in a step (default: ${DEFAULT-VALUE}).")
    private int batchSize;

    @Option(
            names = "--learning-rate",
            paramLabel = "X",
            defaultValue = "2e-3",
            description = "Peak rate (default: ${DEFAULT-VALUE}).")
    private double learningRate;

    @Option(
            names = "--seed",
            paramLabel = "N",
            defaultValue = "1",
            description = "Of stories, weights and order (default: ${DEFAULT-VALUE}).")
    private long seed;

    @Spec
    private CommandSpec spec;

    /** The shape: about 0.8 million weights, 1.6 MB in bfloat16. */
    static LlamaConfig shape(int vocabulary) {
        return LlamaConfig.builder()
                .vocabSize(vocabulary)
                .hiddenSize(128)
                .intermediateSize(352)
                .numHiddenLayers(4)
                .numAttentionHeads(4)
                .numKeyValueHeads(2)
                .maxPositionEmbeddings(256)
                .rmsNormEps(1e-5)
                .tieWordEmbeddings(true)
                .initializerRange(0.05)
                .bosTokenId(OptionalInt.of(0))
                .eosTokenIds(List.of(1))
                .dtype(DType.BF16)
                .build();
    }

    @Override
    public void run() {
        try {
            make();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void make() throws IOException {
        Random random = new Random(seed);
        List<String> texts = new ArrayList<>();
        for (int i = 0; i < stories; i++) {
            texts.add(DemoWorld.story(random));
        }
        LlamaConfig config = shape(VOCABULARY);
        AtomicFiles.writeDirectory(output, staging -> {
            JsonFiles.write(
                    staging.resolve("tokenizer.json"),
                    BpeTrainer.train(texts.subList(0, Math.min(texts.size(), TOKENIZER_STORIES)), VOCABULARY));
        });
        try (CpuDevice device = new CpuDevice();
                LlamaModel model = LlamaModel.random(config, seed, device);
                LlamaTokenizer tokenizer = LlamaTokenizer.load(output, config)) {
            TrainingConfig training = TrainingConfig.builder()
                    .learningRate(learningRate)
                    .scheduler(LearningRate.Schedule.COSINE)
                    .warmupRatio(0.02)
                    .weightDecay(0.01)
                    .numTrainEpochs(1)
                    .batchSize(batchSize)
                    .seed(seed)
                    .build();
            try (Trainer trainer = new Trainer(model, model.parameters(), training)) {
                trainer.train(documents(texts, tokenizer), null, new Progress());
            }
            model.save(output, DType.BF16);
        }
    }

    private static DataSet documents(List<String> texts, LlamaTokenizer tokenizer) {
        List<Document> documents = new ArrayList<>();
        for (String text : texts) {
            int[] words = tokenizer.encode(text);
            int[] ids = new int[words.length + 2];
            ids[0] = tokenizer.bosId().orElseThrow();
            System.arraycopy(words, 0, ids, 1, words.length);
            ids[ids.length - 1] = tokenizer.eosId().orElseThrow();
            boolean[] targets = new boolean[ids.length];
            Arrays.fill(targets, 1, ids.length, true);
            documents.add(new Document(ids, targets));
        }
        return DataSet.of(documents);
    }

    /** A line now and then. */
    private final class Progress implements TrainingListener {
        @Override
        public void onStep(StepReport report) {
            if (report.step() % 50 == 0 || report.step() == 1) {
                spec.commandLine()
                        .getErr()
                        .printf(
                                "step %d/%d  loss %.4f  %.0f tokens/s%n",
                                report.step(), report.totalSteps(), report.loss(), report.tokens() / report.seconds());
                spec.commandLine().getErr().flush();
            }
        }
    }
}
