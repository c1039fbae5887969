package io.qlora.trainer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.optim.AdamW;
import io.qlora.llama.LlamaConfig;
import io.qlora.llama.LlamaModel;
import io.qlora.llama.testing.DoubleLlama;
import io.qlora.lora.LoraAdapter;
import io.qlora.lora.LoraConfig;
import io.qlora.trainer.data.Document;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** The gradient of a whole two-layer Llama with adapters on all seven linears. */
class WholeModelGradientTest {

    private static final LlamaConfig CONFIG = LlamaConfig.builder()
            .vocabSize(29)
            .hiddenSize(24)
            .intermediateSize(40)
            .numHiddenLayers(2)
            .numAttentionHeads(4)
            .numKeyValueHeads(2)
            .headDim(6)
            .maxPositionEmbeddings(64)
            .initializerRange(0.25)
            .build();

    private static final int R = 3;
    private static final int ALPHA = 6;

    /** Everything that a gradient needs, made anew for each. */
    private static final class Bench implements AutoCloseable {
        final CpuDevice device = new CpuDevice(2);
        final ModelMemory memory = new ModelMemory(device);
        final StepMemory step = new StepMemory(device);
        final LlamaModel model = LlamaModel.random(CONFIG, 11, device);
        final LoraAdapter adapter;
        final Parameters parameters;

        Bench(double dropout) {
            LoraConfig config = LoraConfig.builder()
                    .r(R)
                    .loraAlpha(ALPHA)
                    .loraDropout(dropout)
                    .build();
            adapter = LoraAdapter.create(config, model.linears(), memory, 5);
            parameters = adapter.parameters();
            Random random = new Random(3);
            for (Parameter parameter : parameters) {
                float[] values = new float[(int) parameter.value().size()];
                for (int i = 0; i < values.length; i++) {
                    values[i] = (float) (0.3 * random.nextGaussian());
                }
                parameter.value().set(values);
            }
            adapter.attach();
        }

        /** The loss, its gradients left in the parameters, which stay as they are. */
        double gradients(List<Document> documents, int microBatch, boolean checkpointing) {
            TrainingConfig config = TrainingConfig.builder()
                    .batchSize(microBatch)
                    .gradientCheckpointing(checkpointing)
                    .seed(9)
                    .build();
            try (ModelMemory state = new ModelMemory(device)) {
                AdamW optimizer = new AdamW(parameters, AdamW.Options.DEFAULT, state);
                TrainingStep training = new TrainingStep(model, parameters, optimizer, state, step, config);
                return training.run(4, documents, 0).loss();
            }
        }

        Map<String, float[]> copy() {
            Map<String, float[]> copies = new HashMap<>();
            parameters.forEach(p -> copies.put(p.name(), p.gradient().toFloats()));
            return copies;
        }

        @Override
        public void close() {
            model.close();
            step.close();
            memory.close();
            device.close();
        }
    }

    private static List<Document> documents(int... lengths) {
        Random random = new Random(1);
        List<Document> documents = new ArrayList<>();
        for (int length : lengths) {
            int[] ids = random.ints(length, 0, CONFIG.vocabSize()).toArray();
            boolean[] targets = new boolean[length];
            Arrays.fill(targets, 1, length, true);
            documents.add(new Document(ids, targets));
        }
        return documents;
    }

    @Test
    void everyEntryOfEveryAdapterAgreesWithDifferencesInDouble() {
        try (Bench bench = new Bench(0)) {
            List<Document> documents = documents(7, 1, 5);
            double loss = bench.gradients(documents, 3, false);
            DoubleLlama exact = new DoubleLlama(bench.model).adapted(bench.parameters, (double) ALPHA / R);
            int[][] ids = documents.stream().map(Document::ids).toArray(int[][]::new);
            int targets = documents.stream().mapToInt(Document::targetCount).sum();
            assertEquals(exact.nll(ids) / targets, loss, 1e-5);
            assertEquals(2 * 7 * 2, bench.parameters.list().size());
            for (Parameter parameter : bench.parameters) {
                double[] expected = Arrays.stream(exact.gradient(parameter, ids))
                        .map(sum -> sum / targets)
                        .toArray();
                assertClose(parameter.name(), expected, parameter.gradient().toFloats());
            }
        }
    }

    private static void assertClose(String name, double[] expected, float[] found) {
        double largest = Arrays.stream(expected).map(Math::abs).max().orElseThrow();
        assertTrue(largest > 1e-5, name + ": no gradient to compare");
        for (int i = 0; i < found.length; i++) {
            assertEquals(expected[i], found[i], 1e-4 * largest, name + "[" + i + "]");
        }
    }

    @Test
    void checkpointingChangesNoBit() {
        try (Bench bench = new Bench(0.2)) {
            List<Document> documents = documents(9, 4, 12);
            double plain = bench.gradients(documents, 3, false);
            Map<String, float[]> expected = bench.copy();
            double again = bench.gradients(documents, 3, true);
            assertEquals(plain, again);
            bench.copy().forEach((name, found) -> assertArrayEquals(expected.get(name), found, name));
        }
    }

    @Test
    void oneMicroBatchOrFourGiveTheSameGradientsWithDropout() {
        try (Bench bench = new Bench(0.1)) {
            List<Document> documents = documents(9, 4, 12, 6, 3, 15, 2, 8);
            bench.gradients(documents, 8, false);
            Map<String, float[]> whole = bench.copy();
            bench.gradients(documents, 2, false);
            bench.copy().forEach((name, parts) -> {
                float[] expected = whole.get(name);
                double largest = 0;
                for (float value : expected) {
                    largest = Math.max(largest, Math.abs(value));
                }
                assertTrue(largest > 0, name);
                for (int i = 0; i < parts.length; i++) {
                    assertEquals(expected[i], parts[i], 1e-6 * largest, name + "[" + i + "]");
                }
            });
        }
    }

    @Test
    void dropoutDropsSomething() {
        List<Document> documents = documents(9, 4, 12);
        try (Bench with = new Bench(0.1);
                Bench without = new Bench(0)) {
            double a = with.gradients(documents, 3, false);
            double b = without.gradients(documents, 3, false);
            assertTrue(Math.abs(a - b) > 1e-4, "the loss is " + a + " with dropout and " + b + " without");
        }
    }
}
