package io.qlora.llama;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.cpu.CpuDevice;
import java.io.IOException;
import java.nio.file.Path;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** The model against transformers and bitsandbytes: logits within 2e-4. */
class LlamaGoldenTest {

    private static final double TOLERANCE = 2e-4;
    private static final String FILE = "logits.safetensors";

    static Stream<Arguments> goldenAndVectors() {
        return Golden.all().flatMap(golden -> Stream.of(true, false).map(vectors -> Arguments.of(golden, vectors)));
    }

    private static void assertLogits(Golden golden, String tensor, Path model, LoadOptions options, boolean vectors)
            throws IOException {
        try (CpuDevice device = new CpuDevice(2, vectors)) {
            float[] logits = Models.logits(model, options, device, golden.ints(FILE, "ids"));
            double difference = Models.largestDifference(golden.floats(FILE, tensor), logits);
            assertTrue(difference <= TOLERANCE, () -> "largest difference " + difference);
        }
    }

    @ParameterizedTest(name = "{0}, vectors {1}")
    @MethodSource("goldenAndVectors")
    void logitsOfTheDenseModelAreTheReferences(Golden golden, boolean vectors) throws IOException {
        assertLogits(golden, "logits", golden.model(), Models.DENSE, vectors);
    }

    @ParameterizedTest(name = "{0}, vectors {1}")
    @MethodSource("goldenAndVectors")
    void logitsOfTheModelQuantisedWhileLoadingAreTheReferences(Golden golden, boolean vectors) throws IOException {
        assertLogits(golden, "logits_nf4", golden.model(), LoadOptions.defaults(), vectors);
    }

    @ParameterizedTest(name = "{0}, vectors {1}")
    @MethodSource("goldenAndVectors")
    void logitsOfTheFourBitCheckpointAreTheReferences(Golden golden, boolean vectors) throws IOException {
        assertLogits(golden, "logits_nf4", golden.figures().resolve("bnb-4bit"), LoadOptions.defaults(), vectors);
    }

    @ParameterizedTest
    @MethodSource("io.qlora.llama.Golden#all")
    void theFourBitCheckpointIsWhatQuantisingTheModelGives(Golden golden) throws IOException {
        int[] ids = golden.ints(FILE, "ids");
        try (CpuDevice device = new CpuDevice(2)) {
            float[] quantised = Models.logits(golden.model(), LoadOptions.defaults(), device, ids);
            float[] stored = Models.logits(golden.figures().resolve("bnb-4bit"), LoadOptions.defaults(), device, ids);
            double difference = Models.largestDifference(quantised, stored);
            assertTrue(difference <= TOLERANCE, () -> "largest difference " + difference);
        }
    }
}
