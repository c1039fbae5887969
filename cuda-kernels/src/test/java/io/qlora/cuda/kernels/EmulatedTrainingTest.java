package io.qlora.cuda.kernels;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.emulation.EmulatedDriver;
import io.qlora.cuda.emulation.EmulatedLibrary;
import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.BumpPool;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.nn.AdaptableLinear;
import io.qlora.engine.nn.LinearAdapter;
import io.qlora.engine.nn.StepKey;
import io.qlora.engine.ops.Sequences;
import io.qlora.engine.optim.AdamW;
import io.qlora.engine.optim.GradientNorm;
import io.qlora.engine.safetensors.SafetensorsFile;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;
import io.qlora.llama.LlamaModel;
import io.qlora.llama.LoadOptions;
import io.qlora.llama.Upload;
import io.qlora.lora.LoraAdapter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Optimizer steps of QLoRA through the whole CUDA backend, emulated, against the reference stack's in float32: five of a
 * trained model, where its figures lie beside the project, and one of the project's own. Operands of every product are
 * rounded to bfloat16, which is all that the tolerances leave room for.
 */
class EmulatedTrainingTest {

    private static final double LOSS = 5e-3; // relative
    private static final double NORM = 2e-2; // relative
    private static final double DIRECTION = 0.999; // cosine of the whole gradient of step 1

    @ParameterizedTest
    @CsvSource({
        "../shared/golden/stories260K, 5, false",
        "../shared/golden/stories260K, 1, true",
        "trainer/src/test/resources/golden/tiny, 1, false"
    })
    void reproducesTheReferencesSteps(String figures, int steps, boolean checkpointing) throws IOException {
        Path golden = Path.of(System.getProperty("qlora.root", ".."), figures);
        assumeTrue(Files.isDirectory(golden), golden + " is not there: nothing to compare a training run with");
        JsonNode trace =
                new JsonMapper().readTree(golden.resolve("trace-lora.json").toFile());
        EmulatedDriver driver = new EmulatedDriver(EmulatedLibrary.load(), 1L << 30, 0);
        LoadOptions options = LoadOptions.defaults();
        try (CpuDevice cpu = new CpuDevice(1);
                LlamaModel host = LlamaModel.load(golden.resolve("bnb-4bit"), options, cpu);
                CudaDevice card =
                        CudaDevice.open(driver, 0, EmulatedDriver.code(), new CudaDevice.Options(1 << 20, true));
                ModelMemory memory = new ModelMemory(card);
                LlamaModel model = Upload.copy(host, options, card);
                StepMemory step = new StepMemory(card)) {
            LoraAdapter adapter = LoraAdapter.load(golden.resolve("adapter-lora"), model.linears(), memory);
            adapter.attach();
            onUploadedWeights(model, Upload.linears(host, memory));
            Parameters parameters = adapter.parameters();
            overwrite(parameters, golden.resolve("trace-lora-init.safetensors"));
            JsonNode settings = trace.get("optimizer");
            double decay = settings.get("weight_decay").asDouble();
            AdamW optimizer = new AdamW(parameters, AdamW.Options.DEFAULT.withWeightDecay(decay), memory);
            for (int s = 0; s < steps; s++) {
                JsonNode expected = trace.get("steps").get(s);
                parameters.zeroGradients();
                JsonNode batch = trace.get("batches").get(s);
                double loss = gradients(
                        model,
                        parameters,
                        step,
                        batch,
                        expected.get("target_tokens").asInt(),
                        checkpointing);
                float norm = GradientNorm.of(parameters, step);
                assertClose(expected.get("loss").asDouble(), loss, LOSS, "loss of step " + (s + 1));
                if (s == 0) {
                    assertClose(expected.get("grad_norm").asDouble(), norm, NORM, "norm of step 1");
                    assertSameDirection(parameters, golden.resolve("trace-lora-grads.safetensors"));
                }
                float clip = GradientNorm.clip(
                        norm, (float) settings.get("max_grad_norm").asDouble());
                optimizer.step(settings.get("lr").asDouble(), clip);
                step.requireEmpty();
            }
            assertTrue(
                    driver.launches() > 100 * steps, "everything ran on the card: " + driver.launches() + " launches");
        }
    }

    private static void assertClose(double expected, double found, double share, String what) {
        assertEquals(expected, found, share * expected, what);
    }

    /** The copy's own linears hold no values, since a double quantised weight's offset cannot be set. */
    private static void onUploadedWeights(LlamaModel model, Map<String, Weight> weights) {
        for (AdaptableLinear linear : model.linears()) {
            LinearAdapter adapter = linear.attached();
            Weight weight = weights.get(linear.name());
            linear.attach((tape, x, base, sequences, key) -> adapter.apply(tape, x, weight, sequences, key));
        }
    }

    private static double gradients(
            LlamaModel model,
            Parameters parameters,
            StepMemory step,
            JsonNode batch,
            int count,
            boolean checkpointing) {
        List<Integer> ids = new ArrayList<>();
        List<Integer> rows = new ArrayList<>();
        List<Integer> targets = new ArrayList<>();
        int[] lengths = new int[batch.size()];
        for (int d = 0; d < lengths.length; d++) {
            JsonNode labels = batch.get(d).get("labels");
            lengths[d] = labels.size();
            for (int t = 0; t < lengths[d]; t++) {
                if (t > 0 && labels.get(t).asInt() >= 0) {
                    rows.add(ids.size() - 1); // predicts the token that is added now
                    targets.add(labels.get(t).asInt());
                }
                ids.add(batch.get(d).get("input_ids").get(t).asInt());
            }
        }
        assertEquals(count, targets.size());
        BumpPool pool = step.activations();
        try (Tape tape = Tape.recording(step, parameters)) {
            Tensor loss = model.loss(
                    tape,
                    tensor(pool, ids),
                    Sequences.of(pool, 0, lengths),
                    tensor(pool, rows),
                    tensor(pool, targets),
                    1f / count,
                    new StepKey(0, 1),
                    checkpointing);
            double value = loss.item();
            tape.backward(loss);
            return value;
        }
    }

    private static Tensor tensor(BumpPool pool, List<Integer> values) {
        return pool.empty(DType.I32, Shape.of(values.size()))
                .set(values.stream().mapToInt(Integer::intValue).toArray());
    }

    private static void overwrite(Parameters parameters, Path file) throws IOException {
        try (SafetensorsFile values = SafetensorsFile.open(file)) {
            for (Parameter parameter : parameters) {
                parameter.value().set(values.readFloats(parameter.name()));
            }
        }
    }

    private static void assertSameDirection(Parameters parameters, Path file) throws IOException {
        double product = 0;
        double squares = 0;
        double reference = 0;
        try (SafetensorsFile expected = SafetensorsFile.open(file)) {
            for (Parameter parameter : parameters) {
                float[] there = expected.readFloats(parameter.name());
                float[] found = parameter.gradient().toFloats();
                for (int i = 0; i < found.length; i++) {
                    product += (double) there[i] * found[i];
                    squares += (double) found[i] * found[i];
                    reference += (double) there[i] * there[i];
                }
            }
        }
        double cosine = product / Math.sqrt(squares * reference);
        assertTrue(cosine >= DIRECTION, "the gradients' cosine with the reference's is " + cosine);
    }
}
