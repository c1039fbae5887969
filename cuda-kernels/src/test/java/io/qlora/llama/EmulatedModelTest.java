package io.qlora.llama;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.emulation.EmulatedDriver;
import io.qlora.cuda.emulation.EmulatedLibrary;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.PlanningDevice;
import io.qlora.engine.nn.AdaptableLinear;
import io.qlora.engine.scalar.Floats;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Models on the emulated card: how they get there, and what they write. */
class EmulatedModelTest {

    private static final Path ROOT = Path.of(System.getProperty("qlora.root", ".."));
    private static final Path TINY = ROOT.resolve("llama-loader/src/test/resources/models/tiny");
    private static final Path BNB = ROOT.resolve("trainer/src/test/resources/golden/tiny/bnb-4bit");
    private static final Path STORIES = ROOT.resolve("../shared/models/stories260K");
    private static final LoadOptions NF4 = LoadOptions.defaults();
    private static final LoadOptions DENSE =
            LoadOptions.builder().quantization(LoadOptions.Quantization.NONE).build();

    private static CudaDevice card(DType activations) {
        EmulatedDriver driver = new EmulatedDriver(EmulatedLibrary.load(), 1L << 30, 0);
        CudaDevice.Options options = new CudaDevice.Options(1 << 14, true).withActivations(activations);
        return CudaDevice.open(driver, 0, EmulatedDriver.code(), options);
    }

    private static String hex(Tensor tensor) {
        byte[] bytes = new byte[Math.toIntExact(tensor.byteSize())];
        tensor.device().read(tensor, MemorySegment.ofArray(bytes));
        return HexFormat.of().formatHex(bytes);
    }

    private static String hex(Weight weight) {
        return switch (weight) {
            case DenseWeight dense -> hex(dense.tensor());
            case Nf4Weight nf4 ->
                hex(nf4.codes())
                        + switch (nf4.absmax()) {
                            case Nf4Weight.Plain plain -> hex(plain.values());
                            case Nf4Weight.Nested nested ->
                                hex(nested.codes()) + hex(nested.absmax2()) + hex(nested.map()) + nested.offset();
                        };
        };
    }

    private static void assertSameLinears(LlamaModel expected, LlamaModel found) {
        for (int i = 0; i < expected.linears().size(); i++) {
            AdaptableLinear linear = expected.linears().get(i);
            assertEquals(hex(linear.weight()), hex(found.linears().get(i).weight()), linear.name());
        }
    }

    /** What is float32 in a file is rounded on the card. */
    private static void assertSameRounded(DenseWeight expected, DenseWeight found) {
        float[] values = expected.tensor().toFloats();
        for (int i = 0; i < values.length; i++) {
            values[i] = Float.intBitsToFloat(Floats.bfloat16(values[i]) << 16);
        }
        assertEquals(DType.BF16, found.tensor().dtype());
        assertArrayEquals(values, found.tensor().toFloats());
    }

    static Stream<Path> directories() {
        return Stream.of(TINY, BNB);
    }

    @ParameterizedTest
    @MethodSource("directories")
    void linearsAreTheProcessorsToTheBitQuantisedOnTheCardOrAlready(Path directory) throws IOException {
        try (CpuDevice cpu = new CpuDevice(1);
                CudaDevice card = card(DType.BF16);
                LlamaModel expected = LlamaModel.load(directory, NF4, cpu);
                LlamaModel found = LlamaModel.load(directory, NF4, card)) {
            assertSameLinears(expected, found);
            assertSameRounded(expected.embedding(), found.embedding());
        }
    }

    @Test
    void denseWeightsAreKeptInTheTypeOfActivations() throws IOException {
        for (DType activations : new DType[] {DType.F32, DType.BF16}) {
            try (CpuDevice cpu = new CpuDevice(1);
                    CudaDevice card = card(activations);
                    LlamaModel expected = LlamaModel.load(TINY, DENSE, cpu);
                    LlamaModel found = LlamaModel.load(TINY, DENSE, card)) {
                assertEquals(activations, found.head().tensor().dtype());
                assertArrayEquals(
                        expected.head().tensor().toFloats(),
                        found.head().tensor().toFloats());
            }
        }
    }

    @ParameterizedTest
    @MethodSource("directories")
    void aPlanTakesTheMemoryOfTheModel(Path directory) throws IOException {
        try (CudaDevice card = card(DType.BF16);
                PlanningDevice planning = new PlanningDevice(card);
                LlamaModel model = LlamaModel.load(directory, NF4, card);
                LlamaModel plan = LlamaModel.plan(directory, NF4, planning)) {
            assertEquals(model.weightBytes(), plan.weightBytes());
        }
    }

    @Test
    void syntheticWeightsAreTheSameEverywhere() throws IOException {
        LlamaConfig config = LlamaConfig.read(TINY); // of bfloat16
        try (CpuDevice cpu = new CpuDevice(2);
                CudaDevice card = card(DType.BF16);
                LlamaModel expected = LlamaModel.synthetic(config, NF4, 42, cpu);
                LlamaModel found = LlamaModel.synthetic(config, NF4, 42, card)) {
            assertSameLinears(expected, found);
            assertEquals(hex(expected.head()), hex(found.head()));
        }
    }

    private static int[] generate(Path directory, Device device) throws IOException {
        GenerationOptions greedy =
                GenerationOptions.builder().maxNewTokens(8).stopIds(Set.of()).build();
        try (LlamaModel model = LlamaModel.load(directory, NF4, device);
                Generator generator = new Generator(model, 32)) {
            return generator.generate(new int[] {1, 7, 200, 31, 5, 90}, greedy, id -> true);
        }
    }

    @Test
    void continuesATextAsTheProcessorDoes() throws IOException {
        assumeTrue(Files.isDirectory(STORIES), STORIES + " is not there: a model that is sure of what comes next");
        try (CpuDevice cpu = new CpuDevice(1)) {
            int[] expected = generate(STORIES, cpu);
            for (DType activations : new DType[] {DType.F32, DType.BF16}) {
                try (CudaDevice card = card(activations)) {
                    assertArrayEquals(expected, generate(STORIES, card), "with activations in " + activations);
                }
            }
        }
    }
}
