package io.qlora.trainer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.llama.GenerationOptions;
import io.qlora.trainer.data.DataSet;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** A fine-tuner, as an application has one, on the tiny model of random weights. */
class FineTunerTest {

    private static final Path MODEL = Path.of("../llama-loader/src/test/resources/models/tiny");

    @TempDir
    Path folder;

    private Path data;

    @BeforeEach
    void writeData() throws IOException {
        String records = IntStream.range(0, 24)
                .mapToObj(i -> "{\"prompt\": \"Say %c.\", \"completion\": \" %c\"}%n".formatted('a' + i, 'a' + i))
                .collect(Collectors.joining());
        data = Files.writeString(folder.resolve("data.jsonl"), records);
    }

    private static TrainingConfig.Builder training() {
        return TrainingConfig.builder().learningRate(5e-3).batchSize(4).maxSteps(8);
    }

    @Test
    void twoModelsTrainedOnTwoThreadsDoNotDisturbEachOther() throws Exception {
        List<byte[]> alone = List.of(fineTune("alone-1", 1), fineTune("alone-2", 2));
        try (ExecutorService threads = Executors.newFixedThreadPool(2)) {
            Future<byte[]> first = threads.submit(() -> fineTune("together-1", 1));
            Future<byte[]> second = threads.submit(() -> fineTune("together-2", 2));
            assertArrayEquals(alone.get(0), first.get());
            assertArrayEquals(alone.get(1), second.get());
        }
    }

    @Test
    void aFineTunerThatIsClosedSaysSoAndMayBeClosedAgain() throws IOException {
        FineTuner tuner = FineTuner.on(MODEL).open();
        DataSet set = tuner.read(data);
        tuner.close();
        tuner.close();
        TrainingConfig config = training().build();
        for (Executable use : List.<Executable>of(
                () -> tuner.read(data),
                () -> tuner.train(set, config),
                () -> tuner.evaluate(set),
                () -> tuner.generate("", GenerationOptions.builder().build()),
                () -> tuner.save(folder.resolve("output")))) {
            IllegalStateException e = assertThrows(IllegalStateException.class, use);
            assertEquals("this fine-tuner is closed", e.getMessage());
        }
    }

    @Test
    void whatWasLearntIsGenerated() throws IOException {
        data = Files.writeString(
                folder.resolve("one.jsonl"), "{\"prompt\": \"cheese:\", \"completion\": \" fromage\"}\n");
        GenerationOptions options = GenerationOptions.builder().maxNewTokens(50).build();
        try (FineTuner tuner = FineTuner.on(MODEL).open()) {
            assertNotEquals(" fromage", tuner.generate("cheese:", options));
            TrainingConfig config =
                    TrainingConfig.builder().maxSteps(60).learningRate(2e-2).build();
            tuner.train(tuner.read(data), config);
            assertEquals(" fromage", tuner.generate("cheese:", options));
            String tooLong = "cheese ".repeat(tuner.model().config().maxPositionEmbeddings());
            assertThrows(IllegalArgumentException.class, () -> tuner.generate(tooLong, options));
        }
    }

    @Test
    void aFineTunerDoesNotPretendToMakeCheckpoints() throws IOException {
        try (FineTuner tuner = FineTuner.on(MODEL).open()) {
            DataSet set = tuner.read(data);
            TrainingConfig config = training().saveSteps(2).build();
            IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> tuner.train(set, config));
            assertTrue(e.getMessage().startsWith("saveSteps should be 0"), e.getMessage());
        }
    }

    private byte[] fineTune(String name, long seed) throws IOException {
        Path output = folder.resolve(name);
        try (FineTuner tuner = FineTuner.on(MODEL).seed(seed).open()) {
            tuner.train(tuner.read(data), training().seed(seed).build());
            tuner.save(output);
        }
        return Files.readAllBytes(output.resolve("adapter_model.safetensors"));
    }
}
