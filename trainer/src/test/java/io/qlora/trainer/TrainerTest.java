package io.qlora.trainer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.optim.AdamW;
import io.qlora.llama.LlamaModel;
import io.qlora.llama.LoadOptions;
import io.qlora.lora.LoraAdapter;
import io.qlora.lora.LoraConfig;
import io.qlora.trainer.data.DataSet;
import io.qlora.trainer.data.Document;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** That settings do what they say, on the tiny model of random weights. */
class TrainerTest {

    private static final Path MODEL = Path.of("../llama-loader/src/test/resources/models/tiny");
    private static final double RATE = 1e-2;

    private CpuDevice device;
    private LlamaModel model;

    @BeforeEach
    void open() throws IOException {
        device = new CpuDevice(2);
        model = LlamaModel.load(MODEL, LoadOptions.defaults(), device);
    }

    @AfterEach
    void close() {
        model.close();
        device.close();
    }

    private static Document document(int length, int targets, long seed) {
        int[] ids = new Random(seed).ints(length, 0, 384).toArray();
        boolean[] learnt = new boolean[length];
        Arrays.fill(learnt, length - targets, length, true);
        return new Document(ids, learnt);
    }

    private static DataSet documents(int... lengths) {
        List<Document> documents = new ArrayList<>();
        for (int length : lengths) {
            documents.add(document(length, length - 1, length));
        }
        return DataSet.of(documents);
    }

    private static TrainingConfig.Builder config() {
        return TrainingConfig.builder().learningRate(RATE).batchSize(2).maxSteps(1);
    }

    /** The adapter's values after a run, which begins with the same ones every time. */
    private List<float[]> trained(DataSet data, TrainingConfig config) throws IOException {
        LoraConfig lora = LoraConfig.builder().r(4).build();
        try (ModelMemory memory = new ModelMemory(device)) {
            LoraAdapter adapter = LoraAdapter.create(lora, model.linears(), memory, 5);
            adapter.attach();
            try (Trainer trainer = new Trainer(model, adapter.parameters(), config)) {
                trainer.train(data, null, new TrainingListener() {});
            }
            adapter.detach();
            return adapter.parameters().list().stream()
                    .map(Parameter::value)
                    .map(value -> value.toFloats())
                    .toList();
        }
    }

    @Test
    void weightDecayTakesItsShareOfEveryValue() throws IOException {
        DataSet data = documents(9, 12);
        List<float[]> before = trained(data, config().learningRate(0).build());
        List<float[]> without = trained(data, config().build());
        List<float[]> with = trained(data, config().weightDecay(0.25).build());
        for (int i = 0; i < before.size(); i++) {
            float[] expected = new float[before.get(i).length];
            for (int j = 0; j < expected.length; j++) {
                expected[j] = (float) (without.get(i)[j] - RATE * 0.25 * before.get(i)[j]);
            }
            assertArrayEquals(expected, with.get(i), 1e-6f);
        }
    }

    @Test
    void aRunDoesNotGoOnWithTheOptimizerOfAnother() throws IOException {
        try (ModelMemory memory = new ModelMemory(device)) {
            LoraAdapter adapter = LoraAdapter.create(LoraConfig.builder().build(), model.linears(), memory, 5);
            adapter.attach();
            try (Trainer trainer = new Trainer(model, adapter.parameters(), config().build())) {
                DataSet data = documents(9, 12);
                trainer.train(data, null, new TrainingListener() {});
                IllegalStateException e = assertThrows(
                        IllegalStateException.class, () -> trainer.train(data, null, new TrainingListener() {}));
                assertTrue(e.getMessage().startsWith("the run has done 0 steps and its optimizer 1:"), e.getMessage());
            }
            adapter.detach();
        }
    }

    @Test
    void theSeedDecidesTheOrderOfTheData() throws IOException {
        DataSet data = documents(9, 12, 7, 10, 8, 11);
        List<float[]> one = trained(data, config().seed(1).build());
        assertSame(one, trained(data, config().seed(1).build()));
        List<float[]> other = trained(data, config().seed(2).build());
        assertFalse(Arrays.deepEquals(one.toArray(), other.toArray()), "two seeds train alike");
    }

    private static void assertSame(List<float[]> expected, List<float[]> found) {
        for (int i = 0; i < expected.size(); i++) {
            assertArrayEquals(expected.get(i), found.get(i));
        }
    }

    @Test
    void anEvaluationIsTheMeanOverTargetsHoweverTheyAreBatched() {
        DataSet data = DataSet.of(List.of(document(30, 1, 1), document(12, 11, 2), document(25, 24, 3)));
        double[] losses = new double[3];
        for (int batch = 1; batch <= 3; batch++) {
            try (StepMemory memory = new StepMemory(device)) {
                Evaluation evaluation = new Evaluator(model, memory, batch).evaluate(data);
                assertEquals(36, evaluation.targets());
                losses[batch - 1] = evaluation.nll();
            }
        }
        assertEquals(losses[0], losses[1], 1e-6);
        assertEquals(losses[0], losses[2], 1e-6);
        double[] alone = new double[3];
        for (int i = 0; i < 3; i++) {
            try (StepMemory memory = new StepMemory(device)) {
                DataSet one = DataSet.of(List.of(data.documents().get(i)));
                alone[i] = new Evaluator(model, memory, 1).evaluate(one).nll();
            }
        }
        assertEquals((alone[0] + 11 * alone[1] + 24 * alone[2]) / 36, losses[0], 1e-6);
        double meanOfMeans = (alone[0] + alone[1] + alone[2]) / 3;
        assertTrue(Math.abs(meanOfMeans - losses[0]) > 1e-3, "the documents have the same loss, which shows nothing");
    }

    @Test
    void longerAndLongerDocumentsTakeLittleMoreThanTheLongest() throws IOException {
        LoraConfig lora = LoraConfig.builder().r(4).build();
        try (ModelMemory memory = new ModelMemory(device)) {
            LoraAdapter adapter = LoraAdapter.create(lora, model.linears(), memory, 5);
            adapter.attach();
            TrainingConfig config = config().batchSize(40).build();
            try (ModelMemory state = new ModelMemory(device);
                    StepMemory steps = new StepMemory(device)) {
                AdamW optimizer = new AdamW(adapter.parameters(), AdamW.Options.DEFAULT, state);
                TrainingStep training = new TrainingStep(model, adapter.parameters(), optimizer, state, steps, config);
                for (int length = 100; length <= 180; length += 5) {
                    int[] lengths = new int[40];
                    Arrays.fill(lengths, length);
                    training.run(1, documents(lengths).documents(), RATE);
                }
                StepMemory.Sizes needed = steps.needed();
                long bound = needed.onDevice() + 2 * device.chunkBytes() + needed.onDevice() / 8;
                assertTrue(steps.capacity() <= bound, steps.capacity() + " for " + needed);
            }
            adapter.detach();
        }
    }
}
