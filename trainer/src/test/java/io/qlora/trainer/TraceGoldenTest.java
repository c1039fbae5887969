package io.qlora.trainer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.optim.AdamW;
import io.qlora.engine.safetensors.SafetensorsFile;
import io.qlora.llama.LlamaModel;
import io.qlora.llama.LoadOptions;
import io.qlora.lora.LoraAdapter;
import java.io.IOException;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * Twenty optimizer steps of QLoRA against the reference stack's, from the same adapter on the same 4-bit base over the same
 * batches. Tolerances are those of the golden figures' own description.
 */
class TraceGoldenTest {

    private static final double GRADIENT = 1e-4; // of the tensor's largest
    private static final double LOSS = 1e-5; // relative
    private static final double FINAL = 2e-4; // absolute
    private static final double FINAL_RMS = 5e-6;

    static Stream<GoldenTrace> traces() {
        return GoldenTrace.all();
    }

    @ParameterizedTest
    @MethodSource("traces")
    void reproducesTheReferencesSteps(GoldenTrace trace) throws IOException {
        reproduces(trace, trace.config().build());
    }

    /** The reference's batches, a document or two at a time. */
    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void soDoAccumulatedMicroBatches(int batchSize) throws IOException {
        GoldenTrace trace = GoldenTrace.read(GoldenTrace.TINY, "lora");
        TrainingConfig whole = trace.config().build();
        assertTrue(whole.batchSize() > 2, "a step has " + whole.batchSize() + " documents");
        reproduces(trace, trace.config().batchSize(batchSize).build());
    }

    private static void reproduces(GoldenTrace trace, TrainingConfig config) throws IOException {
        try (CpuDevice device = new CpuDevice();
                ModelMemory memory = new ModelMemory(device);
                LlamaModel model =
                        LlamaModel.load(trace.figures().resolve("bnb-4bit"), LoadOptions.defaults(), device);
                StepMemory step = new StepMemory(device)) {
            LoraAdapter adapter = LoraAdapter.load(trace.adapter(), model.linears(), memory);
            Parameters parameters = adapter.parameters();
            trace.begin(parameters);
            adapter.attach();
            AdamW optimizer = trace.optimizer(parameters, memory);
            TrainingStep training = new TrainingStep(model, parameters, optimizer, memory, step, config);
            for (int s = 1; s <= trace.steps(); s++) {
                trace.assertStep(s, training, LOSS, GRADIENT);
                if (s == 1) {
                    requireGradients(parameters, trace);
                }
            }
            requireValues(parameters, trace);
        }
    }

    private static void requireGradients(Parameters parameters, GoldenTrace trace) throws IOException {
        try (SafetensorsFile expected = trace.tensors("grads")) {
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

    private static void requireValues(Parameters parameters, GoldenTrace trace) throws IOException {
        double squares = 0;
        long count = 0;
        try (SafetensorsFile expected = trace.tensors("final")) {
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
