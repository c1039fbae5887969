package io.qlora.trainer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.llama.GenerationOptions;
import io.qlora.llama.Generator;
import io.qlora.llama.LlamaModel;
import io.qlora.llama.LoadOptions;
import io.qlora.lora.LoraAdapter;
import io.qlora.lora.PeftFiles;
import io.qlora.trainer.data.DataSet;
import io.qlora.trainer.data.Document;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Evaluating and generating take what their plans say. */
class InferencePlanTest {

    private static final Path MODEL = Path.of("../llama-loader/src/test/resources/models/tiny");
    private static final Path ADAPTER = GoldenTrace.TINY.resolve("adapter-lora");

    private CpuDevice device;
    private ModelMemory memory;
    private StepMemory step;

    @BeforeEach
    void open() {
        device = new CpuDevice(2);
        memory = new ModelMemory(device);
        step = new StepMemory(device);
    }

    @AfterEach
    void close() {
        step.close();
        memory.close();
        device.close();
    }

    private static Document document(int length, int targets) {
        boolean[] learnt = new boolean[length];
        Arrays.fill(learnt, length - targets, length, true);
        return new Document(new int[length], learnt);
    }

    private LlamaModel load(MemoryPlan plan) throws IOException {
        LlamaModel model = LlamaModel.load(MODEL, LoadOptions.defaults(), device);
        LoraAdapter.load(ADAPTER, model.linears(), memory).attach();
        assertEquals(model.weightBytes(), plan.weights());
        assertEquals(memory.bytes(), plan.adapter());
        assertEquals(0, plan.optimizer());
        step.reserve(plan.step());
        return model;
    }

    @Test
    void anEvaluationDoes() throws IOException {
        DataSet data = DataSet.of(List.of(document(90, 3), document(20, 1), document(70, 69), document(5, 4)));
        MemoryPlan plan = MemoryPlan.ofEvaluation(MODEL, LoadOptions.defaults(), ADAPTER, null, 2, data, 2);
        try (LlamaModel model = load(plan)) {
            new Evaluator(model, step, 2).evaluate(data);
            assertEquals(plan.step(), step.needed());
            assertEquals(plan.activations(), step.capacity());
        }
    }

    @Test
    void generatingDoes() throws IOException {
        MemoryPlan plan = MemoryPlan.ofGeneration(MODEL, LoadOptions.defaults(), ADAPTER, null, 2, 40, 60);
        GenerationOptions options =
                GenerationOptions.builder().maxNewTokens(20).stopIds(Set.of()).build();
        try (LlamaModel model = load(plan);
                Generator generator = new Generator(model, 60, step)) {
            assertEquals(20, generator.generate(new int[40], options, id -> true).length);
            assertEquals(plan.cache(), generator.cacheBytes());
            assertEquals(plan.step(), step.needed());
            assertEquals(plan.activations(), step.capacity());
            assertTrue(plan.total() > plan.weights() + plan.adapter() + plan.cache() + plan.activations());
        }
    }

    @Test
    void anAdapterThatDoesNotFitIsRefusedBeforeTheModelIsLoaded(@TempDir Path folder) throws IOException {
        Path weights = folder.resolve(PeftFiles.WEIGHTS);
        Files.copy(ADAPTER.resolve(PeftFiles.WEIGHTS), weights);
        String config = Files.readString(ADAPTER.resolve("adapter_config.json"));
        assertTrue(config.contains("\"r\": 8"), config);
        Files.writeString(folder.resolve("adapter_config.json"), config.replace("\"r\": 8", "\"r\": 9"));
        IOException e = assertThrows(
                IOException.class,
                () -> MemoryPlan.ofGeneration(MODEL, LoadOptions.defaults(), folder, null, 2, 40, 60));
        assertTrue(e.getMessage().startsWith(weights + ": ") && e.getMessage().contains("lora_A"), e.getMessage());
    }
}
