package io.qlora.trainer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.optim.AdamW;
import io.qlora.engine.optim.LearningRate;
import io.qlora.engine.safetensors.SafetensorsFile;
import io.qlora.llama.LlamaModel;
import io.qlora.llama.LoadOptions;
import io.qlora.lora.LoraAdapter;
import io.qlora.trainer.data.Document;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Twenty optimizer steps of QLoRA against the reference stack's, from the same adapter on the same 4-bit base over the same
 * batches. Tolerances are those of the golden figures' own description.
 */
class TraceGoldenTest {

    private static final double GRADIENT = 1e-4; // of the tensor's largest
    private static final double LOSS = 1e-5; // relative
    private static final double FINAL = 2e-4; // absolute
    private static final double FINAL_RMS = 5e-6;

    static Stream<Trace> traces() {
        return Golden.directories()
                .flatMap(golden -> Stream.of("lora", "rslora", "qv")
                        .filter(kind -> Files.exists(golden.resolve("trace-" + kind + ".json")))
                        .map(kind -> new Trace(golden, kind)));
    }

    record Trace(Path golden, String kind) {
        @Override
        public String toString() {
            return golden.getFileName() + " " + kind;
        }

        Path file(String name) {
            return golden.resolve("trace-" + kind + name);
        }
    }

    @ParameterizedTest
    @MethodSource("traces")
    void reproducesTheReferencesSteps(Trace trace) throws IOException {
        JsonNode json = new JsonMapper().readTree(trace.file(".json").toFile());
        try (CpuDevice device = new CpuDevice();
                ModelMemory memory = new ModelMemory(device);
                LlamaModel model = LlamaModel.load(trace.golden.resolve("bnb-4bit"), LoadOptions.defaults(), device);
                StepMemory step = new StepMemory(device)) {
            LoraAdapter adapter =
                    LoraAdapter.load(trace.golden.resolve("adapter-" + trace.kind), model.linears(), memory);
            Parameters parameters = adapter.parameters();
            overwrite(parameters, trace.file("-init.safetensors"));
            adapter.attach();
            JsonNode settings = json.get("optimizer");
            AdamW optimizer = new AdamW(
                    parameters,
                    AdamW.Options.DEFAULT.withWeightDecay(
                            settings.get("weight_decay").asDouble()),
                    memory);
            TrainingConfig config = TrainingConfig.builder()
                    .batchSize(json.get("batch_size").asInt())
                    .maxGradNorm(settings.get("max_grad_norm").asDouble())
                    .scheduler(LearningRate.Schedule.CONSTANT)
                    .build();
            TrainingStep training = new TrainingStep(model, parameters, optimizer, memory, step, config);
            JsonNode steps = json.get("steps");
            for (int s = 0; s < steps.size(); s++) {
                TrainingStep.Result result = training.run(
                        s + 1,
                        documents(json.get("batches").get(s)),
                        settings.get("lr").asDouble());
                JsonNode expected = steps.get(s);
                double loss = expected.get("loss").asDouble();
                assertEquals(loss, result.loss(), LOSS * loss, trace + ": loss of step " + (s + 1));
                assertEquals(expected.get("target_tokens").asInt(), result.targets());
                if (s == 0) {
                    double norm = expected.get("grad_norm").asDouble();
                    assertEquals(norm, result.gradNorm(), GRADIENT * norm, trace + ": norm of step 1");
                    requireGradients(parameters, trace.file("-grads.safetensors"));
                }
            }
            requireValues(parameters, trace.file("-final.safetensors"));
        }
    }

    private static List<Document> documents(JsonNode batch) {
        List<Document> documents = new ArrayList<>();
        for (JsonNode row : batch) {
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

    private static void overwrite(Parameters parameters, Path file) throws IOException {
        try (SafetensorsFile values = SafetensorsFile.open(file)) {
            for (Parameter parameter : parameters) {
                parameter.value().set(values.readFloats(parameter.name()));
            }
        }
    }

    private static void requireGradients(Parameters parameters, Path file) throws IOException {
        try (SafetensorsFile expected = SafetensorsFile.open(file)) {
            assertEquals(expected.entries().size(), parameters.list().size());
            for (Parameter parameter : parameters) {
                float[] reference = expected.readFloats(parameter.name());
                float[] found = parameter.gradient().toFloats();
                double largest = 0;
                double error = 0;
                for (int i = 0; i < reference.length; i++) {
                    largest = Math.max(largest, Math.abs(reference[i]));
                    error = Math.max(error, Math.abs(reference[i] - found[i]));
                }
                assertTrue(
                        error <= GRADIENT * largest,
                        parameter.name() + ": a gradient is off by " + error + ", the largest is " + largest);
            }
        }
    }

    private static void requireValues(Parameters parameters, Path file) throws IOException {
        double squares = 0;
        long count = 0;
        try (SafetensorsFile expected = SafetensorsFile.open(file)) {
            for (Parameter parameter : parameters) {
                float[] reference = expected.readFloats(parameter.name());
                float[] found = parameter.value().toFloats();
                for (int i = 0; i < reference.length; i++) {
                    double error = Math.abs(reference[i] - found[i]);
                    assertTrue(error <= FINAL, parameter.name() + "[" + i + "] is off by " + error);
                    squares += error * error;
                    count++;
                }
            }
        }
        double rms = Math.sqrt(squares / count);
        assertTrue(rms <= FINAL_RMS, "the final adapter is off by " + rms + " root mean square");
    }
}
