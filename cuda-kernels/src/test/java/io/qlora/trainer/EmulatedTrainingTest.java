package io.qlora.trainer;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.driver.CudaDriver;
import io.qlora.cuda.emulation.EmulatedDriver;
import io.qlora.cuda.emulation.EmulatedLibrary;
import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.optim.AdamW;
import io.qlora.engine.safetensors.SafetensorsFile;
import io.qlora.engine.tensor.DType;
import io.qlora.llama.Checkpointing;
import io.qlora.llama.LoadOptions;
import io.qlora.lora.LoraConfig;
import io.qlora.lora.PeftFiles;
import io.qlora.trainer.data.Document;
import java.io.IOException;
import java.lang.reflect.Proxy;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Optimizer steps of QLoRA through {@link FineTuner} and the whole CUDA backend, emulated, against the reference stack's in
 * float32: five of a trained model, where its figures lie beside the project, and one of the project's own. The weights come
 * from the model's files and are quantised on the card.
 */
class EmulatedTrainingTest {

    private static final Path ROOT = Path.of(System.getProperty("qlora.root", ".."));

    @TempDir
    Path folder;

    /** A model's files, and the reference's figures of it. */
    private enum Base {
        STORIES("../shared/models/stories260K", GoldenTrace.STORIES),
        TINY("llama-loader/src/test/resources/models/tiny", GoldenTrace.TINY);

        final Path model;
        final Path figures;

        Base(String model, Path figures) {
            this.model = ROOT.resolve(model);
            this.figures = figures;
        }

        GoldenTrace trace() {
            assumeTrue(Files.isDirectory(figures), figures + " is not there: nothing to compare a training run with");
            return GoldenTrace.read(figures, "lora");
        }
    }

    /**
     * How far a run may be from the reference's.
     *
     * @param loss relative
     * @param norm of step 1's gradients, relative
     * @param sine of the angle between step 1's gradient and the reference's: the share of it that is error
     */
    private record Tolerance(double loss, double norm, double sine) {

        /** Operands of every product are rounded to bfloat16: to within 2⁻⁸, by 2⁻⁹ or less in the mean. */
        static final Tolerance FLOAT32 = new Tolerance(5e-3, 2e-2, 0.045);

        /**
         * So is every result: some dozen roundings a block and way. They add up as the root of their number, which for the
         * models here is below ten, to 10 · 2⁻⁹ = 2 % of a gradient, and twice that with those of the products. Those of the
         * logits are, with a hundred targets and more, averaged out of the loss.
         */
        static final Tolerance BFLOAT16 = new Tolerance(5e-3, 4e-2, 0.06);

        static Tolerance of(DType activations) {
            return activations == DType.F32 ? FLOAT32 : BFLOAT16;
        }
    }

    private static CudaDevice card(EmulatedDriver driver, DType activations) {
        CudaDevice.Options options = new CudaDevice.Options(1 << 16, true).withActivations(activations);
        return CudaDevice.open(driver, 0, EmulatedDriver.code(), options);
    }

    private static EmulatedDriver driver() {
        return new EmulatedDriver(EmulatedLibrary.load(), 1L << 30, 0);
    }

    private static FineTuner tuner(Base base, GoldenTrace trace, CudaDevice card) throws IOException {
        FineTuner tuner =
                FineTuner.on(base.model).adapter(trace.adapter()).device(card).open();
        trace.begin(tuner.adapter().parameters());
        return tuner;
    }

    private static TrainingConfig config(GoldenTrace trace, Checkpointing checkpointing) {
        return trace.config()
                .gradientCheckpointing(checkpointing != Checkpointing.NONE)
                .offloadActivations(checkpointing == Checkpointing.OFFLOADED)
                .build();
    }

    @ParameterizedTest
    @CsvSource({
        "STORIES, 5, F32, NONE",
        "STORIES, 5, BF16, NONE",
        "STORIES, 2, BF16, OFFLOADED",
        "TINY, 1, F32, BLOCKS",
        "TINY, 1, BF16, NONE"
    })
    void reproducesTheReferencesSteps(Base base, int steps, DType activations, Checkpointing checkpointing)
            throws IOException {
        GoldenTrace trace = base.trace();
        Tolerance tolerance = Tolerance.of(activations);
        EmulatedDriver driver = driver();
        try (CudaDevice card = card(driver, activations);
                FineTuner tuner = tuner(base, trace, card);
                ModelMemory memory = new ModelMemory(card);
                StepMemory step = new StepMemory(card)) {
            Parameters parameters = tuner.adapter().parameters();
            AdamW optimizer = trace.optimizer(parameters, memory);
            TrainingStep training =
                    new TrainingStep(tuner.model(), parameters, optimizer, memory, step, config(trace, checkpointing));
            for (int s = 1; s <= steps; s++) {
                trace.assertStep(s, training, tolerance.loss, tolerance.norm);
                if (s == 1) {
                    assertSameDirection(parameters, trace, tolerance);
                }
            }
            assertTrue(
                    driver.launches() > 100L * steps, "everything ran on the card: " + driver.launches() + " launches");
        }
        assertEquals(0, driver.used(), "everything was given back");
    }

    /** What a step leaves: the gradients' bits, and what memory it took. */
    private record Footprint(List<float[]> gradients, long peak, long onHost) {}

    private static Footprint step(Checkpointing checkpointing) throws IOException {
        GoldenTrace trace = Base.TINY.trace();
        try (CudaDevice card = card(driver(), DType.BF16);
                FineTuner tuner = tuner(Base.TINY, trace, card);
                ModelMemory memory = new ModelMemory(card);
                StepMemory step = new StepMemory(card)) {
            Parameters parameters = tuner.adapter().parameters();
            AdamW optimizer = new AdamW(parameters, AdamW.Options.DEFAULT, memory);
            TrainingConfig config = config(trace, checkpointing);
            TrainingStep training = new TrainingStep(tuner.model(), parameters, optimizer, memory, step, config);
            for (int s = 1; s <= 2; s++) { // the second finds memory as the first left it
                training.run(s, trace.documents(s), 1e-3);
            }
            List<float[]> gradients = new ArrayList<>();
            parameters.forEach(parameter -> gradients.add(parameter.gradient().toFloats()));
            return new Footprint(gradients, step.activations().peak(), step.hostCapacity());
        }
    }

    @Test
    void checkpointsAndOffloadingChangeNoBitAndTakeLess() throws IOException {
        Footprint kept = step(Checkpointing.NONE);
        Footprint blocks = step(Checkpointing.BLOCKS);
        Footprint offloaded = step(Checkpointing.OFFLOADED);
        for (int i = 0; i < kept.gradients.size(); i++) {
            assertArrayEquals(kept.gradients.get(i), blocks.gradients.get(i));
            assertArrayEquals(kept.gradients.get(i), offloaded.gradients.get(i));
        }
        assertTrue(blocks.peak < kept.peak, blocks.peak + " and " + kept.peak);
        assertTrue(offloaded.peak < blocks.peak, offloaded.peak + " and " + blocks.peak);
        assertEquals(0, blocks.onHost);
        assertTrue(offloaded.onHost > 0);
    }

    /** The driver, but that it notes the names of its functions when they are called. */
    private static CudaDriver noting(CudaDriver driver, List<String> calls) {
        return (CudaDriver) Proxy.newProxyInstance(
                CudaDriver.class.getClassLoader(), new Class<?>[] {CudaDriver.class}, (proxy, method, arguments) -> {
                    calls.add(method.getName());
                    return method.invoke(driver, arguments);
                });
    }

    @Test
    void aStepIsWaitedForOnceHoweverManyMicroBatchesItHas() throws IOException {
        GoldenTrace trace = Base.TINY.trace();
        List<String> calls = new ArrayList<>();
        CudaDevice.Options options = new CudaDevice.Options(1 << 20, false);
        try (CudaDevice card = CudaDevice.open(noting(driver(), calls), 0, EmulatedDriver.code(), options);
                FineTuner tuner = tuner(Base.TINY, trace, card);
                ModelMemory memory = new ModelMemory(card);
                StepMemory step = new StepMemory(card)) {
            Parameters parameters = tuner.adapter().parameters();
            AdamW optimizer = new AdamW(parameters, AdamW.Options.DEFAULT, memory);
            TrainingConfig config = TrainingConfig.builder().batchSize(1).build();
            TrainingStep training = new TrainingStep(tuner.model(), parameters, optimizer, memory, step, config);
            List<Document> documents = trace.documents(1).subList(0, 2);
            for (int s = 0; s < 2; s++) { // in the first one memory is taken and code loaded
                calls.clear();
                training.run(s + 1L, documents, 1e-3);
            }
            assertEquals(1, Collections.frequency(calls, "copyToHost"), "what is read");
            assertEquals(0, Collections.frequency(calls, "synchronizeStream"));
            assertEquals(0, Collections.frequency(calls, "allocate"));
        }
    }

    private RunOptions options(String output, Path resume, int saveSteps) throws IOException {
        Path data = Files.writeString(folder.resolve("data.jsonl"), """
                {"instruction": "Repeat.", "input": "one", "output": "one!"}
                {"instruction": "Repeat.", "input": "eleven", "output": "eleven!"}
                {"instruction": "Repeat.", "input": "two", "output": "two!"}
                """);
        TrainingConfig config = TrainingConfig.builder()
                .batchSize(1)
                .gradientAccumulationSteps(2)
                .maxSteps(2)
                .gradientCheckpointing(true)
                .offloadActivations(true)
                .saveSteps(saveSteps)
                .build();
        return new RunOptions(
                Base.TINY.model,
                List.of(data),
                List.of(),
                0,
                folder.resolve(output),
                0,
                true,
                LoraConfig.builder().r(4).loraDropout(0.1).build(),
                LoadOptions.defaults(),
                config,
                1,
                resume);
    }

    @Test
    void aRunTakesWhatItsPlanSays() throws IOException {
        try (CudaDevice card = card(driver(), DType.BF16)) {
            RunOptions options = options("output", null, 0);
            TrainingRun run = TrainingRun.prepare(options, card);
            MemoryPlan plan = run.plan();
            assertEquals("cuda:0", plan.device());
            assertEquals(card.memory().orElseThrow().free(), plan.available());
            try (FineTuner tuner = FineTuner.on(options.model())
                            .lora(options.lora())
                            .device(card)
                            .open();
                    Trainer trainer = new Trainer(tuner.model(), tuner.adapter().parameters(), options.training())) {
                trainer.memory().reserve(plan.step());
                trainer.train(run.train(), null, new TrainingListener() {});
                assertEquals(plan.weights(), tuner.model().weightBytes());
                assertEquals(plan.activations(), trainer.memory().capacity());
                assertEquals(plan.offloaded(), trainer.memory().hostCapacity());
                assertTrue(plan.offloaded() > 0 && plan.beside() > plan.offloaded());
            }
        }
    }

    @Test
    void aRunThatIsResumedOnTheCardEndsInTheSameBits() throws IOException {
        EmulatedDriver driver = driver();
        try (CudaDevice card = card(driver, DType.BF16)) {
            TrainingRun.prepare(options("whole", null, 1), card).run(new TrainingListener() {});
            Path checkpoint = folder.resolve("whole/checkpoint-1");
            TrainingRun.prepare(options("resumed", checkpoint, 0), card).run(new TrainingListener() {});
        }
        assertArrayEquals(
                Files.readAllBytes(folder.resolve("whole").resolve(PeftFiles.WEIGHTS)),
                Files.readAllBytes(folder.resolve("resumed").resolve(PeftFiles.WEIGHTS)));
        assertEquals(0, driver.used(), "everything was given back");
    }

    @Test
    void aProcessorRefusesToOffload() throws IOException {
        RunOptions options = options("output", null, 0);
        IllegalArgumentException e =
                assertThrows(IllegalArgumentException.class, () -> TrainingRun.prepare(options, null));
        assertEquals(
                "offloadActivations moves activations from a card to the machine's memory, where a processor's are already:"
                        + " leave it out, or train on a card",
                e.getMessage());
    }

    private static void assertSameDirection(Parameters parameters, GoldenTrace trace, Tolerance tolerance)
            throws IOException {
        double product = 0;
        double squares = 0;
        double reference = 0;
        try (SafetensorsFile expected = trace.tensors("grads")) {
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
        double sine = Math.sqrt(Math.max(0, 1 - product / squares * (product / reference)));
        assertTrue(sine <= tolerance.sine, "the gradient's angle to the reference's has a sine of " + sine);
    }
}
