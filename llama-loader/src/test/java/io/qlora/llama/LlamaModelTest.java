package io.qlora.llama;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.PlanningDevice;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.ops.Sequences;
import io.qlora.engine.scalar.Floats;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.Tensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class LlamaModelTest {

    private static CpuDevice device;

    @TempDir
    private Path temporary;

    @BeforeAll
    static void open() {
        device = new CpuDevice(2);
    }

    @AfterAll
    static void close() {
        device.close();
    }

    private static Tensor hidden(LlamaModel model, Tape tape, int[] ids, int... lengths) {
        Sequences sequences = Sequences.of(tape.memory().activations(), 0, lengths);
        return model.forward(tape, tape.empty(DType.I32, ids.length).set(ids), sequences, null, Checkpointing.NONE);
    }

    @Test
    void documentsInOneBatchDoNotSeeEachOther() {
        try (LlamaModel model = LlamaModel.random(Models.small().build(), 3, device);
                StepMemory memory = new StepMemory(device);
                Tape tape = Tape.inference(memory)) {
            float[] both = model.logits(tape, hidden(model, tape, new int[] {4, 5, 6, 4, 7}, 3, 2))
                    .toFloats();
            float[] first = Models.logits(model, 4, 5, 6);
            float[] second = Models.logits(model, 4, 7);
            assertArrayEquals(first, Arrays.copyOf(both, first.length), 1e-6f);
            assertArrayEquals(second, Arrays.copyOfRange(both, first.length, both.length), 1e-6f);
        }
    }

    @Test
    void whatComesLaterChangesNothingBefore() {
        try (LlamaModel model = LlamaModel.random(Models.small().build(), 3, device)) {
            float[] some = Models.logits(model, 4, 5, 6, 7);
            float[] other = Models.logits(model, 4, 5, 6, 8);
            int unchanged = 3 * 23;
            assertArrayEquals(Arrays.copyOf(some, unchanged), Arrays.copyOf(other, unchanged));
            assertFalse(Arrays.equals(some, other));
        }
    }

    @Test
    void aDocumentOfAllPositionsIsComputedAndALongerOneRefused() {
        try (LlamaModel model = LlamaModel.random(Models.small().build(), 3, device)) {
            assertEquals(64 * 23, Models.logits(model, new int[64]).length);
            IllegalArgumentException e =
                    assertThrows(IllegalArgumentException.class, () -> Models.logits(model, new int[65]));
            assertTrue(e.getMessage().contains("65 tokens"), e.getMessage());
            assertTrue(e.getMessage().contains("64 positions (max_position_embeddings)"), e.getMessage());
        }
    }

    @Test
    void theTableOfAnglesGrowsWithTheDocumentsAndChangesNothing() {
        LlamaConfig config = Models.small().maxPositionEmbeddings(2000).build();
        int[] ids = IntStream.range(0, 1500).map(i -> i % 23).toArray();
        try (LlamaModel growing = LlamaModel.random(config, 3, device);
                LlamaModel grown = LlamaModel.random(config, 3, device)) {
            float[] few = Models.logits(growing, Arrays.copyOf(ids, 10));
            float[] all = Models.logits(growing, ids);
            assertArrayEquals(all, Models.logits(grown, ids));
            assertArrayEquals(few, Models.logits(grown, Arrays.copyOf(ids, 10)));
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {-1, 23})
    void anIdThatIsNotInTheVocabularyIsNamed(int id) {
        try (LlamaModel model = LlamaModel.random(Models.small().build(), 3, device)) {
            IndexOutOfBoundsException e =
                    assertThrows(IndexOutOfBoundsException.class, () -> Models.logits(model, 1, id));
            assertTrue(e.getMessage().contains(Integer.toString(id)), e.getMessage());
        }
    }

    @Test
    void aFreshModelHasNormalWeightsOfTheConfigsDeviationAndUnitNorms() {
        LlamaConfig config = Models.small()
                .hiddenSize(64)
                .vocabSize(500)
                .initializerRange(0.05)
                .build();
        try (LlamaModel model = LlamaModel.random(config, 3, device)) {
            Set<String> names =
                    model.parameters().list().stream().map(Parameter::name).collect(Collectors.toSet());
            assertEquals(2 * 9 + 3, names.size());
            for (Parameter parameter : model.parameters()) {
                float[] values = parameter.value().toFloats();
                if (parameter.name().contains("norm")) {
                    assertTrue(IntStream.range(0, values.length).allMatch(i -> values[i] == 1));
                } else {
                    assertNormal(values, 0.05);
                }
            }
        }
    }

    private static void assertNormal(float[] values, double deviation) {
        double sum = 0;
        double squares = 0;
        int within = 0;
        for (float value : values) {
            sum += value;
            squares += value * value;
            within += Math.abs(value) < deviation ? 1 : 0;
        }
        double n = values.length;
        assertEquals(0, sum / n, 4 * deviation / Math.sqrt(n));
        assertEquals(deviation, Math.sqrt(squares / n), 4 * deviation / Math.sqrt(2 * n));
        assertEquals(0.6827, within / n, 2 / Math.sqrt(n));
    }

    @Test
    void theSeedDecidesFreshWeights() {
        try (LlamaModel one = LlamaModel.random(Models.small().build(), 3, device);
                LlamaModel same = LlamaModel.random(Models.small().build(), 3, device);
                LlamaModel other = LlamaModel.random(Models.small().build(), 4, device)) {
            assertArrayEquals(Models.logits(one, 1, 2), Models.logits(same, 1, 2));
            assertFalse(Arrays.equals(Models.logits(one, 1, 2), Models.logits(other, 1, 2)));
        }
    }

    @Test
    void aTiedModelHasItsEmbeddingOnceAmongItsParameters() {
        LlamaConfig config = Models.small().tieWordEmbeddings(true).build();
        try (LlamaModel model = LlamaModel.random(config, 3, device)) {
            assertSame(model.embedding(), model.head());
            assertEquals(2 * 9 + 2, model.parameters().list().size());
            assertEquals(4 * model.parameters().size(), model.weightBytes());
        }
    }

    @Test
    void aFrozenModelHasNoParametersAndIsNotSaved() throws IOException {
        Path directory = Models.write(temporary.resolve("model"), Models.small().build(), device);
        try (LlamaModel model = LlamaModel.load(directory, Models.DENSE, device)) {
            assertTrue(model.parameters().list().isEmpty());
            assertThrows(IllegalStateException.class, () -> model.save(temporary.resolve("again"), DType.F32));
            assertFalse(Files.exists(temporary.resolve("again")));
        }
    }

    @Test
    void aModelThatIsLoadedToBeTrainedSavesAsItWas() throws IOException {
        Path directory = Models.write(
                temporary.resolve("model"),
                Models.small().tieWordEmbeddings(true).build(),
                device);
        LoadOptions options = LoadOptions.builder()
                .quantization(LoadOptions.Quantization.NONE)
                .trainable(true)
                .build();
        try (LlamaModel model = LlamaModel.load(directory, options, device)) {
            assertEquals(2 * 9 + 2, model.parameters().list().size());
            model.save(temporary.resolve("again"), DType.F32);
        }
        assertEquals(-1, Files.mismatch(directory.resolve("config.json"), temporary.resolve("again/config.json")));
        assertEquals(
                -1,
                Files.mismatch(directory.resolve("model.safetensors"), temporary.resolve("again/model.safetensors")));
    }

    @Test
    void savedInSixteenBitItIsRoundedToTheNearest() throws IOException {
        try (LlamaModel model = LlamaModel.random(Models.small().build(), 3, device)) {
            model.save(temporary.resolve("half"), DType.BF16);
            float[] logits = Models.logits(model, 1, 2, 3);
            try (LlamaModel half = LlamaModel.load(temporary.resolve("half"), Models.DENSE, device)) {
                assertEquals(DType.BF16, half.config().dtype());
                assertEquals(DType.BF16, half.head().tensor().dtype());
                double difference = Models.largestDifference(logits, Models.logits(half, 1, 2, 3));
                assertTrue(difference > 0 && difference < 0.1, "largest difference " + difference);
            }
        }
    }

    @Test
    void roundingToBfloat16IsToTheNearestEvenAndKeepsNaN() {
        assertEquals((short) 0x3F80, Floats.bfloat16(1f));
        assertEquals((short) 0x3F80, Floats.bfloat16(Float.intBitsToFloat(0x3F808000)), "a tie, to even");
        assertEquals((short) 0x3F82, Floats.bfloat16(Float.intBitsToFloat(0x3F818000)), "a tie, to even");
        assertEquals((short) 0x3F81, Floats.bfloat16(Float.intBitsToFloat(0x3F808001)));
        assertEquals((short) 0xBF81, Floats.bfloat16(Float.intBitsToFloat(0xBF808001)));
        assertEquals((short) 0x7F80, Floats.bfloat16(Float.MAX_VALUE));
        assertEquals((short) 0x7FFF, Floats.bfloat16(Float.intBitsToFloat(0x7FFFFFFF)));
        assertEquals((short) 0x7FC0, Floats.bfloat16(Float.intBitsToFloat(0x7F800001)));
    }

    @Test
    void withoutAnythingToTrainNoBlockIsKept() {
        int[] ids = IntStream.range(0, 60).map(i -> i % 23).toArray();
        long[] peaks = new long[2];
        for (int i = 0; i < 2; i++) {
            LlamaConfig config = Models.small().numHiddenLayers(i == 0 ? 1 : 9).build();
            try (LlamaModel model = LlamaModel.random(config, 3, device);
                    StepMemory memory = new StepMemory(device);
                    Tape tape = Tape.inference(memory)) {
                hidden(model, tape, ids, 60);
                peaks[i] = memory.peak();
            }
        }
        long outputs = 8 * 60 * 12 * 4;
        assertTrue(peaks[1] - peaks[0] <= outputs + 8 * 256, peaks[0] + " and " + peaks[1]);
    }

    /** What a step of training takes on a device. */
    private record Footprint(long activations, long gradients, long weights) {}

    private static Footprint step(LlamaModel model, boolean checkpointing) {
        Device on = model.device();
        try (StepMemory memory = new StepMemory(on);
                Tape tape = Tape.recording(memory, model.parameters())) {
            Tensor loss = model.loss(
                    tape,
                    tape.empty(DType.I32, 30).set(new int[30]),
                    Sequences.of(memory.activations(), 0, 10, 20),
                    tape.empty(DType.I32, 5).set(1, 2, 3, 14, 15),
                    tape.empty(DType.I32, 5).set(new int[5]),
                    0.2f,
                    null,
                    checkpointing ? Checkpointing.BLOCKS : Checkpointing.NONE);
            tape.backward(loss);
            return new Footprint(memory.activations().peak(), memory.gradients().peak(), model.weightBytes());
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void aRehearsalTakesTheMemoryOfTheStep(boolean checkpointing) throws IOException {
        LoadOptions options = LoadOptions.builder()
                .quantization(LoadOptions.Quantization.NONE)
                .trainable(true)
                .build();
        Path directory = Models.write(temporary.resolve("model"), Models.small().build(), device);
        try (PlanningDevice planning = new PlanningDevice();
                LlamaModel planned = LlamaModel.plan(directory, options, planning);
                LlamaModel real = LlamaModel.load(directory, options, device)) {
            assertEquals(step(real, checkpointing), step(planned, checkpointing));
        }
    }

    private void assertPlanned(Path directory, LoadOptions options) throws IOException {
        try (PlanningDevice planning = new PlanningDevice();
                LlamaModel planned = LlamaModel.plan(directory, options, planning);
                LlamaModel real = LlamaModel.load(directory, options, device)) {
            assertEquals(real.weightBytes(), planned.weightBytes());
        }
    }

    @Test
    void aPlannedModelHasTheSizeOfTheLoadedOne() throws IOException {
        assertPlanned(Golden.TINY.model(), LoadOptions.defaults());
        assertPlanned(
                Golden.TINY.model(), LoadOptions.builder().doubleQuant(false).build());
        assertPlanned(Golden.TINY.model(), Models.DENSE);
    }

    @Test
    void aPlanIsOfWhatTheFilesHoldWhateverTheConfigSays() throws IOException {
        Path single = Models.write(temporary.resolve("single"), Models.small().build(), device); // in float32
        Models.edit(single.resolve("config.json"), "\"float32\"", "\"bfloat16\"");
        assertEquals(DType.BF16, LlamaConfig.read(single).dtype());
        assertPlanned(single, Models.DENSE);
        assertPlanned(single, LoadOptions.defaults());
        LlamaConfig tied = Models.small().tieWordEmbeddings(true).build();
        Path other = Models.write(temporary.resolve("other"), tied, device);
        TensorFile.edit(other.resolve("model.safetensors"), tensors -> {
            tensors.put(
                    "lm_head.weight", TensorFile.Raw.floats(new float[23 * 12]).withShape(23, 12));
            return tensors;
        });
        assertPlanned(other, LoadOptions.defaults());
    }
}
