package io.qlora.llama;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.ops.Sequences;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import io.qlora.llama.testing.DoubleLlama;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The gradient of the whole model, all of whose weights are trained. */
class ModelGradientTest {

    private static final int[][] DOCUMENTS = {{1, 5, 9, 5, 22, 2}, {1, 9, 3, 2}};

    private CpuDevice device;
    private StepMemory memory;

    @BeforeEach
    void open() {
        device = new CpuDevice(2);
        memory = new StepMemory(device);
    }

    @AfterEach
    void close() {
        memory.close();
        device.close();
    }

    /** Sets the gradients of all parameters to those of the summed loss of {@code targets}, and returns that loss. */
    private float gradients(LlamaModel model, boolean checkpointing, int[]... documents) {
        model.parameters().zeroGradients();
        int[] ids = Arrays.stream(documents).flatMapToInt(Arrays::stream).toArray();
        int[] rows = rows(documents);
        int[] targets = Arrays.stream(rows).map(row -> ids[row + 1]).toArray();
        try (Tape tape = Tape.recording(memory, model.parameters())) {
            int[] lengths = Arrays.stream(documents).mapToInt(d -> d.length).toArray();
            Tensor loss = model.loss(
                    tape,
                    tape.empty(DType.I32, ids.length).set(ids),
                    Sequences.of(memory.activations(), 0, lengths),
                    tape.empty(DType.I32, rows.length).set(rows),
                    tape.empty(DType.I32, rows.length).set(targets),
                    1f,
                    null,
                    checkpointing ? Checkpointing.BLOCKS : Checkpointing.NONE);
            float value = loss.item();
            tape.backward(loss);
            return value;
        }
    }

    private static int[] rows(int[][] documents) {
        List<Integer> rows = new ArrayList<>();
        int start = 0;
        for (int[] document : documents) {
            IntStream.range(start, start + document.length - 1).forEach(rows::add);
            start += document.length;
        }
        return rows.stream().mapToInt(Integer::intValue).toArray();
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void everyEntryOfEveryWeightAgreesWithCentralDifferencesInDouble(boolean tied) {
        LlamaConfig config = Models.small().tieWordEmbeddings(tied).build();
        try (LlamaModel model = LlamaModel.random(config, 11, device)) {
            DoubleLlama exact = new DoubleLlama(model);
            assertEquals(exact.nll(DOCUMENTS), gradients(model, false, DOCUMENTS), 1e-4);
            for (Parameter parameter : model.parameters()) {
                double[] expected = exact.gradient(parameter, DOCUMENTS);
                assertClose(parameter.name(), expected, parameter.gradient().toFloats());
            }
        }
    }

    private static void assertClose(String name, double[] expected, float[] found) {
        double largest = Arrays.stream(expected).map(Math::abs).max().orElseThrow();
        assertTrue(largest > 1e-3, name + " has no gradient to speak of");
        for (int i = 0; i < found.length; i++) {
            assertEquals(expected[i], found[i], 1e-5 * largest, name + " " + i);
        }
    }

    @Test
    void checkpointingChangesNoBit() {
        try (LlamaModel model = LlamaModel.random(Models.small().build(), 11, device)) {
            float kept = gradients(model, false, DOCUMENTS);
            List<float[]> expected = model.parameters().list().stream()
                    .map(parameter -> parameter.gradient().toFloats())
                    .toList();
            long keptPeak = memory.peak();
            assertEquals(kept, gradients(model, true, DOCUMENTS));
            assertTrue(keptPeak > 0);
            for (int i = 0; i < expected.size(); i++) {
                Parameter parameter = model.parameters().list().get(i);
                assertArrayEquals(expected.get(i), parameter.gradient().toFloats(), parameter.name());
            }
        }
    }

    @Test
    void aStepLeavesTheMemoryAsItWas() {
        try (LlamaModel model = LlamaModel.random(Models.small().build(), 11, device)) {
            gradients(model, false, DOCUMENTS);
            memory.requireEmpty();
            gradients(model, true, DOCUMENTS);
            memory.requireEmpty();
        }
    }

    @Test
    void checkpointingKeepsLess() {
        int[] document = IntStream.range(0, 48).map(i -> i % 23).toArray();
        LlamaConfig config = Models.small().numHiddenLayers(8).build();
        try (LlamaModel model = LlamaModel.random(config, 11, device)) {
            gradients(model, true, document);
            long checkpointed = memory.peak();
            gradients(model, false, document);
            assertTrue(checkpointed < 0.5 * memory.peak(), checkpointed + " of " + memory.peak());
        }
    }

    @Test
    void gradientReachesEarlierKeysAndValues() {
        int[] document = {3, 4, 5, 6};
        try (LlamaModel model = LlamaModel.random(Models.small().build(), 11, device)) {
            model.parameters().zeroGradients();
            try (Tape tape = Tape.recording(memory, model.parameters())) {
                Tensor loss = model.loss(
                        tape,
                        tape.empty(DType.I32, 4).set(document),
                        Sequences.of(memory.activations(), 0, 4),
                        tape.empty(DType.I32, 1).set(3),
                        tape.empty(DType.I32, 1).set(7),
                        1f,
                        null,
                        Checkpointing.NONE);
                tape.backward(loss);
            }
            Tensor gradient = model.parameters().list().getFirst().gradient(); // of the embedding
            for (int id : document) {
                assertTrue(magnitude(gradient.rows(id, id + 1)) > 1e-4, "token " + id);
            }
            assertEquals(0, magnitude(gradient.rows(8, 9)));
        }
    }

    private static double magnitude(Tensor tensor) {
        double largest = 0;
        for (float value : tensor.toFloats()) {
            largest = Math.max(largest, Math.abs(value));
        }
        return largest;
    }
}
