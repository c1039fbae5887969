package io.qlora.llama;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.PlanningDevice;
import io.qlora.engine.safetensors.MalformedFileException;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.nf4.Nf4;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.UnaryOperator;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Checkpoints of bitsandbytes: every form that is read as it is, and every one that is refused. */
class BitsAndBytesTest {

    private static final String WEIGHT = "model.layers.1.self_attn.k_proj.weight";
    private static final String STATE = WEIGHT + ".quant_state.bitsandbytes__nf4";
    private static final int[] IDS = {0, 7, 100, 383};

    private static CpuDevice device;

    @TempDir
    private Path temporary;

    private Path model;
    private Path file;

    @BeforeAll
    static void open() {
        device = new CpuDevice(1);
    }

    @AfterAll
    static void close() {
        device.close();
    }

    @BeforeEach
    void copy() throws IOException {
        model = Models.copy(Golden.TINY.figures().resolve("bnb-4bit"), temporary.resolve("model"));
        file = model.resolve("model.safetensors");
    }

    private float[] logits() throws IOException {
        return Models.logits(model, LoadOptions.defaults(), device, IDS);
    }

    private void assertRefused(String... words) {
        MalformedFileException e = assertThrows(MalformedFileException.class, this::logits);
        for (String word : words) {
            assertTrue(e.getMessage().contains(word), e.getMessage() + " should contain " + word);
        }
    }

    private void editState(String from, String to) throws IOException {
        TensorFile.replace(file, STATE, raw -> {
            String json = new String(raw.data(), StandardCharsets.UTF_8);
            assertTrue(json.contains(from), json);
            return TensorFile.Raw.text(json.replace(from, to));
        });
    }

    @Test
    void quantStorageOfAnyTypeIsTheSameBytes() throws IOException {
        float[] expected = logits();
        for (String dtype : new String[] {"BF16", "F16", "F32"}) {
            int bytes = dtype.equals("F32") ? 4 : 2;
            TensorFile.edit(file, tensors -> {
                tensors.replaceAll((name, raw) -> tensors.containsKey(name + ".quant_map")
                        ? new TensorFile.Raw(dtype, new long[] {raw.data().length / bytes, 1}, raw.data())
                        : raw);
                return tensors;
            });
            assertArrayEquals(expected, logits(), dtype);
        }
    }

    @Test
    void scalesThatAreNotQuantisedAreReadToo() throws IOException {
        float[] expected = logits();
        assertPlanned();
        float[] absmax = decodedAbsmax();
        TensorFile.edit(file, tensors -> {
            tensors.put(WEIGHT + ".absmax", TensorFile.Raw.floats(absmax));
            tensors.remove(WEIGHT + ".nested_absmax");
            tensors.remove(WEIGHT + ".nested_quant_map");
            return tensors;
        });
        assertArrayEquals(expected, logits());
        assertPlanned();
    }

    /** A plan has the model's size. */
    private void assertPlanned() throws IOException {
        try (PlanningDevice planning = new PlanningDevice();
                LlamaModel planned = LlamaModel.plan(model, LoadOptions.defaults(), planning);
                LlamaModel loaded = LlamaModel.load(model, LoadOptions.defaults(), device)) {
            assertEquals(loaded.weightBytes(), planned.weightBytes());
        }
    }

    private float[] decodedAbsmax() throws IOException {
        try (LlamaModel loaded = LlamaModel.load(model, LoadOptions.defaults(), device)) {
            Nf4Weight weight =
                    assertInstanceOf(Nf4Weight.class, loaded.linears().get(8).weight());
            Nf4Weight.Nested nested = assertInstanceOf(Nf4Weight.Nested.class, weight.absmax());
            float[] map = nested.map().toFloats();
            float[] absmax2 = nested.absmax2().toFloats();
            float[] absmax = new float[(int) weight.blocks()];
            for (int b = 0; b < absmax.length; b++) {
                int code = nested.codes().segment().get(ValueLayout.JAVA_BYTE, b) & 0xFF;
                absmax[b] = map[code] * absmax2[b / 256] + nested.offset();
            }
            return absmax;
        }
    }

    @Test
    void aLinearThatWasLeftOutOfTheQuantisationStaysDense() throws IOException {
        float[] expected = logits();
        float[] decoded;
        try (LlamaModel loaded = LlamaModel.load(model, LoadOptions.defaults(), device);
                ModelMemory memory = new ModelMemory(device)) {
            Nf4Weight weight =
                    assertInstanceOf(Nf4Weight.class, loaded.linears().get(8).weight());
            decoded = Nf4.dequantize(weight, memory).toFloats();
        }
        TensorFile.edit(file, tensors -> {
            tensors.keySet().removeIf(name -> name.startsWith(WEIGHT));
            tensors.put(WEIGHT, TensorFile.Raw.floats(decoded).withShape(64, 96));
            return tensors;
        });
        try (LlamaModel loaded = LlamaModel.load(model, LoadOptions.defaults(), device)) {
            assertInstanceOf(DenseWeight.class, loaded.linears().get(8).weight());
            assertTrue(Models.largestDifference(expected, Models.logits(loaded, IDS)) < 1e-5);
        }
        assertPlanned();
    }

    @Test
    void cannotBeLoadedUnquantised() {
        MalformedFileException e =
                assertThrows(MalformedFileException.class, () -> Models.logits(model, Models.DENSE, device, IDS));
        assertTrue(e.getMessage().contains("4-bit checkpoint"), e.getMessage());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '~',
            value = {
                "\"quant_type\": \"nf4\" | \"quant_type\": \"fp4\" | quant_type should be \"nf4\", found \"fp4\"",
                "\"blocksize\": 64 | \"blocksize\": 128 | blocksize should be 64",
                "\"shape\": [64, 96] | \"shape\": [96, 64] | shape should be [64, 96]",
                "\"shape\": [64, 96] | \"shape\": [64] | (num_key_value_heads·head_dim × hidden_size)",
                "\"nested_blocksize\": 256 | \"nested_blocksize\": 64 | nested_blocksize should be 256",
                "\"nested_offset\" | \"offset\" | nested_offset should be given",
                "{\"quant | {{\"quant | JSON"
            })
    void aStateThatIsNotTheOneThatIsReadIsRefused(String from, String to, String words) throws IOException {
        editState(from, to);
        assertRefused("model.safetensors", STATE, words);
    }

    @ParameterizedTest
    @CsvSource({"absmax", "quant_map", "nested_absmax", "nested_quant_map"})
    void aPartThatIsMissingOrOfAnotherSizeIsNamed(String part) throws IOException {
        byte[] whole = Files.readAllBytes(file);
        String name = WEIGHT + "." + part;
        TensorFile.replace(file, name, raw -> TensorFile.Raw.floats(1, 2, 3));
        assertRefused(name);
        Files.write(file, whole);
        TensorFile.replace(file, name, raw -> null);
        assertRefused(WEIGHT);
    }

    @Test
    void codesOfAnotherLengthAreRefused() throws IOException {
        UnaryOperator<TensorFile.Raw> shorter = raw -> new TensorFile.Raw("U8", new long[] {8, 1}, new byte[8]);
        TensorFile.replace(file, WEIGHT, shorter);
        assertRefused(WEIGHT + ": expected 3072 bytes of 4-bit codes", "found 8");
    }

    @Test
    void otherQuantisationsAreRefused() throws IOException {
        byte[] whole = Files.readAllBytes(file);
        TensorFile.edit(file, tensors -> {
            tensors.put(WEIGHT + ".quant_state.bitsandbytes__fp4", tensors.remove(STATE));
            return tensors;
        });
        assertRefused(WEIGHT, "found fp4", "take the model in 16 bit");
        Files.write(file, whole);
        TensorFile.edit(file, tensors -> {
            tensors.put(WEIGHT.replace("weight", "SCB"), TensorFile.Raw.floats(1));
            return tensors;
        });
        assertRefused(WEIGHT, "8-bit");
    }

    @Test
    void aHeadThatIsQuantisedTooIsRefusedForThat() throws IOException {
        TensorFile.edit(file, tensors -> {
            tensors.put("lm_head.weight", tensors.get(WEIGHT));
            tensors.put("lm_head" + STATE.substring(STATE.indexOf(".weight")), tensors.get(STATE));
            return tensors;
        });
        assertRefused("lm_head.weight: expected 16 or 32 bit, found NF4", "take the model in 16 bit");
    }

    @Test
    void aCodebookThatIsNotNf4sIsRefused() throws IOException {
        TensorFile.replace(file, WEIGHT + ".quant_map", raw -> {
            float[] values = Nf4.values();
            values[3] = Math.nextUp(values[3]);
            return TensorFile.Raw.floats(values);
        });
        assertRefused(WEIGHT + ".quant_map", "expected the 16 values of NF4");
    }
}
