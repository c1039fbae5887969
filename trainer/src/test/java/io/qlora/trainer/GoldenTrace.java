package io.qlora.trainer;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;
import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.optim.AdamW;
import io.qlora.engine.optim.LearningRate;
import io.qlora.engine.safetensors.JsonFiles;
import io.qlora.engine.safetensors.SafetensorsFile;
import io.qlora.trainer.data.Document;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * A run of the reference stack: what it trained, on which batches, and what came of every optimizer step.
 *
 * @param figures the directory of the reference's figures of a model
 * @param kind of adapter
 * @param json settings, batches, and figures of each step
 */
record GoldenTrace(Path figures, String kind, JsonNode json) {

    /** The project's own figures. */
    static final Path TINY = root("trainer/src/test/resources/golden/tiny");

    /** Those of a trained model, if they lie beside the project. */
    static final Path STORIES = root("../shared/golden/stories260K");

    private static Path root(String path) {
        return Path.of(System.getProperty("qlora.root", "..")).resolve(path);
    }

    /**
     * Those of the directories above, or of {@code -Dgolden=DIR} alone if given: of {@link #TINY} all, so that one that is
     * missing fails; elsewhere those that there are.
     */
    static Stream<GoldenTrace> all() {
        String given = System.getProperty("golden", "");
        Stream<Path> figures = given.isEmpty() ? Stream.of(TINY, STORIES) : Stream.of(Path.of(given));
        return figures.flatMap(directory -> Stream.of("lora", "rslora", "qv")
                .filter(kind -> directory.equals(TINY) || Files.exists(directory.resolve("trace-" + kind + ".json")))
                .map(kind -> read(directory, kind)));
    }

    static GoldenTrace read(Path figures, String kind) {
        try {
            return new GoldenTrace(figures, kind, JsonFiles.readObject(figures.resolve("trace-" + kind + ".json")));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** The adapter's directory, as PEFT saved it. */
    Path adapter() {
        return figures.resolve("adapter-" + kind);
    }

    /** Tensors of the run. */
    SafetensorsFile tensors(String what) throws IOException {
        return SafetensorsFile.open(figures.resolve("trace-" + kind + "-" + what + ".safetensors"));
    }

    /** Sets the adapter to what the run began with. */
    void begin(Parameters parameters) throws IOException {
        try (SafetensorsFile values = tensors("init")) {
            for (Parameter parameter : parameters) {
                parameter.value().set(values.readFloats(parameter.name()));
            }
        }
    }

    AdamW optimizer(Parameters parameters, ModelMemory memory) {
        double decay = json.get("optimizer").get("weight_decay").asDouble();
        return new AdamW(parameters, AdamW.Options.DEFAULT.withWeightDecay(decay), memory);
    }

    TrainingConfig.Builder config() {
        return TrainingConfig.builder()
                .batchSize(json.get("batch_size").asInt())
                .maxGradNorm(json.get("optimizer").get("max_grad_norm").asDouble())
                .scheduler(LearningRate.Schedule.CONSTANT);
    }

    int steps() {
        return json.get("steps").size();
    }

    /** The batch of a step; the first is 1. */
    List<Document> documents(int step) {
        List<Document> documents = new ArrayList<>();
        for (JsonNode row : json.get("batches").get(step - 1)) {
            int[] ids = new int[row.get("input_ids").size()];
            boolean[] targets = new boolean[ids.length];
            for (int t = 0; t < ids.length; t++) {
                ids[t] = row.get("input_ids").get(t).asInt();
                targets[t] = row.get("labels").get(t).asInt() >= 0;
            }
            documents.add(new Document(ids, targets));
        }
        return documents;
    }

    /**
     * Takes a step, and requires the reference's figures of it.
     *
     * @param step the first is 1
     * @param loss how far the loss may be off, relative
     * @param norm how far the norm of the gradients of step 1 may be off, relative
     */
    void assertStep(int step, TrainingStep training, double loss, double norm) throws IOException {
        TrainingStep.Result result = training.run(
                step, documents(step), json.get("optimizer").get("lr").asDouble());
        JsonNode expected = json.get("steps").get(step - 1);
        assertClose(expected.get("loss").asDouble(), result.loss(), loss, "loss of step " + step);
        assertEquals(expected.get("target_tokens").asInt(), result.targets());
        if (step == 1) {
            assertClose(expected.get("grad_norm").asDouble(), result.gradNorm(), norm, "norm of step 1");
        }
    }

    private void assertClose(double expected, double found, double share, String what) {
        assertEquals(expected, found, share * expected, this + ": " + what);
    }

    @Override
    public String toString() {
        return figures.getFileName() + " " + kind;
    }
}
