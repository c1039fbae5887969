package io.qlora.lora;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.nn.AdaptableLinear;
import io.qlora.engine.safetensors.MalformedFileException;
import io.qlora.engine.safetensors.SafetensorsWriter;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Adapters whose matrices are not what their configuration and the model ask for: each is refused in one sentence. */
class MalformedAdapterTest {

    private static final String A = "base_model.model.model.q_proj.lora_A.weight";
    private static final String B = "base_model.model.model.q_proj.lora_B.weight";
    private static final String SHAPES = " (lora_A is [r, in], lora_B [out, r] of a linear [5, 6])";

    @TempDir
    Path directory;

    private final CpuDevice device = new CpuDevice(1);
    private final ModelMemory memory = new ModelMemory(device);
    private final List<AdaptableLinear> linears =
            List.of(TestLinears.linear("model.q_proj", 5, 6, memory), TestLinears.linear("model.k_proj", 4, 6, memory));

    @BeforeEach
    void config() throws IOException {
        Files.writeString(
                directory.resolve(PeftFiles.CONFIG),
                "{\"peft_type\": \"LORA\", \"target_modules\": [\"q_proj\"], \"r\": 2}");
    }

    @AfterEach
    void close() {
        memory.close();
        device.close();
    }

    private Tensor zeros(long... dims) {
        return memory.zeros(DType.F32, dims);
    }

    private void write(SafetensorsWriter writer) throws IOException {
        writer.write(directory.resolve(PeftFiles.WEIGHTS));
    }

    private void assertRefused(String file, String problem) {
        IOException e = assertThrows(MalformedFileException.class, () -> LoraAdapter.load(directory, linears, memory));
        assertEquals(directory.resolve(file) + ": " + problem, e.getMessage());
    }

    @Test
    void everyFloatTypeIsAccepted() throws IOException {
        Tensor half = memory.empty(DType.F16, 2, 6);
        Tensor bfloat = memory.empty(DType.BF16, 5, 2);
        for (int i = 0; i < 12; i++) {
            half.segment().setAtIndex(ValueLayout.JAVA_SHORT, i, Float.floatToFloat16(i));
        }
        for (int i = 0; i < 10; i++) {
            bfloat.segment().setAtIndex(ValueLayout.JAVA_SHORT, i, (short) (Float.floatToIntBits(i) >>> 16));
        }
        write(new SafetensorsWriter().add(A, half).add(B, bfloat));
        LoraAdapter adapter = LoraAdapter.load(directory, linears, memory);
        assertArrayEquals(
                new float[] {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
                adapter.parameters().list().get(0).value().toFloats());
        assertArrayEquals(
                new float[] {0, 1, 2, 3, 4, 5, 6, 7, 8, 9},
                adapter.parameters().list().get(1).value().toFloats());
    }

    @Test
    void aKeyThatBelongsToNoModuleIsNamed() throws IOException {
        String stray = "base_model.model.model.k_proj.lora_A.weight";
        write(new SafetensorsWriter().add(A, zeros(2, 6)).add(B, zeros(5, 2)).add(stray, zeros(2, 6)));
        assertRefused(
                PeftFiles.WEIGHTS,
                "tensor " + stray
                        + " belongs to no module of this model that adapter_config.json targets: is this adapter"
                        + " for another model?");
    }

    @Test
    void aMissingKeyIsNamed() throws IOException {
        write(new SafetensorsWriter().add(A, zeros(2, 6)));
        assertRefused(
                PeftFiles.WEIGHTS,
                "expected tensor " + B
                        + ", since target_modules mean model.q_proj, found none: is this adapter for another"
                        + " model?");
    }

    @Test
    void aWrongShapeIsNamed() throws IOException {
        write(new SafetensorsWriter().add(A, zeros(2, 7)).add(B, zeros(5, 2)));
        assertRefused(
                PeftFiles.WEIGHTS,
                "tensor " + A + ": expected [2, 6]" + SHAPES + ", found [2, 7]: is this adapter for another model?");
        write(new SafetensorsWriter().add(A, zeros(2, 6)).add(B, zeros(10)));
        assertRefused(
                PeftFiles.WEIGHTS,
                "tensor " + B + ": expected [5, 2]" + SHAPES + ", found [10]: is this adapter for another model?");
    }

    @Test
    void aTypeThatIsNoFloatIsNamed() throws IOException {
        write(new SafetensorsWriter().add(A, memory.zeros(DType.I32, 2, 6)).add(B, zeros(5, 2)));
        assertRefused(PeftFiles.WEIGHTS, "tensor " + A + ": its type should be F32, F16 or BF16, found I32 [2, 6]");
        String header = "{\"" + A + "\":{\"dtype\":\"F64\",\"shape\":[2,6],\"data_offsets\":[0,96]},\"" + B
                + "\":{\"dtype\":\"F64\",\"shape\":[5,2],\"data_offsets\":[96,176]}}";
        ByteBuffer file = ByteBuffer.allocate(8 + header.length() + 176).order(ByteOrder.LITTLE_ENDIAN);
        file.putLong(header.length()).put(header.getBytes(StandardCharsets.US_ASCII));
        Files.write(directory.resolve(PeftFiles.WEIGHTS), file.array());
        assertRefused(PeftFiles.WEIGHTS, "tensor " + A + ": its type should be F32, F16 or BF16, found F64 [2, 6]");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            quoteCharacter = '`',
            value = {
                "[\"q_proj\", \"lm_head\"] ; [lm_head, q_proj] ; lm_head",
                "[\"embed_tokens\", \"q_proj\"] ; [embed_tokens, q_proj] ; model.embed_tokens",
                "\".*(q_proj|lm_head)\" ; expression ; lm_head"
            })
    void anAdapterOnTheHeadOrTheEmbeddingIsRefusedForThat(String targets, String described, String found)
            throws IOException {
        Files.writeString(
                directory.resolve(PeftFiles.CONFIG), "{\"peft_type\": \"LORA\", \"target_modules\": " + targets + "}");
        IOException e = assertThrows(MalformedFileException.class, () -> LoraAdapter.load(directory, linears, memory));
        assertTrue(e.getMessage().contains(described), e.getMessage());
        assertTrue(
                e.getMessage()
                        .endsWith("should mean linears of the blocks alone, found " + found
                                + " among them: the embedding and the output head are not adapted here"),
                e.getMessage());
        LoraConfig config =
                LoraConfig.builder().targetModules("q_proj", "lm_head").build();
        assertThrows(IllegalArgumentException.class, () -> LoraAdapter.create(config, linears, memory, 1));
    }

    @Test
    void anAdapterThatMeansNoLinearOfTheModelIsRefused() throws IOException {
        Files.writeString(
                directory.resolve(PeftFiles.CONFIG), "{\"peft_type\": \"LORA\", \"target_modules\": [\"c_attn\"]}");
        assertRefused(
                PeftFiles.CONFIG,
                "target_modules [c_attn] should match linears of the model, found none among q_proj, k_proj, such as"
                        + " model.q_proj: is this adapter for another model?");
    }

    @Test
    void pickledWeightsAreNamed() throws IOException {
        Files.writeString(directory.resolve("adapter_model.bin"), "");
        assertRefused(
                "", "expected adapter_model.safetensors, found adapter_model.bin: have PEFT save it as safetensors");
    }

    @Test
    void missingWeightsAreNamed() {
        IOException e = assertThrows(IOException.class, () -> LoraAdapter.load(directory, linears, memory));
        assertEquals(directory.resolve(PeftFiles.WEIGHTS) + ": no such file", e.getMessage());
    }

    @Test
    void aTruncatedFileIsNamed() throws IOException {
        write(new SafetensorsWriter().add(A, zeros(2, 6)).add(B, zeros(5, 2)));
        Path file = directory.resolve(PeftFiles.WEIGHTS);
        byte[] bytes = Files.readAllBytes(file);
        Files.write(file, Arrays.copyOf(bytes, bytes.length - 1));
        assertRefused(
                PeftFiles.WEIGHTS,
                "tensor " + B
                        + ": its bytes 48 to 88 lie beyond the file's 87 bytes of data: the file is truncated, get it"
                        + " again");
    }
}
