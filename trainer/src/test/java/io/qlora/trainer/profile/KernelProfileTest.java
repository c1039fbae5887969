package io.qlora.trainer.profile;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.ops.Linear;
import io.qlora.engine.ops.RmsNorm;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import io.qlora.llama.LlamaConfig;
import io.qlora.llama.LlamaModel;
import io.qlora.llama.LoadOptions;
import io.qlora.lora.LoraAdapter;
import io.qlora.lora.LoraConfig;
import io.qlora.trainer.StepReport;
import io.qlora.trainer.Trainer;
import io.qlora.trainer.TrainingConfig;
import io.qlora.trainer.TrainingListener;
import io.qlora.trainer.data.DataSet;
import io.qlora.trainer.data.Document;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.Random;
import org.junit.jupiter.api.Test;

class KernelProfileTest {

    private static final int STEPS = 2;
    private static final LlamaConfig CONFIG = LlamaConfig.builder()
            .vocabSize(80)
            .hiddenSize(64)
            .numHiddenLayers(2)
            .numAttentionHeads(4)
            .numKeyValueHeads(2)
            .intermediateSize(96)
            .maxPositionEmbeddings(64)
            .bosTokenId(OptionalInt.empty())
            .dtype(DType.BF16)
            .build();

    /** Losses of some steps on one document. */
    private static List<Double> train(CpuDevice device, int tokens, boolean checkpointing) throws IOException {
        List<Double> losses = new ArrayList<>();
        TrainingConfig training = TrainingConfig.builder()
                .learningRate(1e-2)
                .maxSteps(STEPS)
                .gradientCheckpointing(checkpointing)
                .build();
        LoraConfig lora = LoraConfig.builder().r(4).build();
        boolean[] targets = new boolean[tokens];
        Arrays.fill(targets, 1, tokens, true);
        Document document = new Document(new Random(1).ints(tokens, 0, 80).toArray(), targets);
        try (LlamaModel model = LlamaModel.synthetic(CONFIG, LoadOptions.defaults(), 1, device);
                ModelMemory memory = new ModelMemory(device)) {
            LoraAdapter adapter = LoraAdapter.create(lora, model.linears(), memory, 1);
            adapter.attach();
            try (Trainer trainer = new Trainer(model, adapter.parameters(), training)) {
                trainer.train(DataSet.of(List.of(document)), null, new TrainingListener() {
                    @Override
                    public void onStep(StepReport report) {
                        losses.add(report.loss());
                    }
                });
            }
        }
        return losses;
    }

    private static List<KernelProfile.Row> profile(int tokens, boolean checkpointing) throws IOException {
        try (CpuDevice device = new CpuDevice(1)) {
            KernelProfile profile = new KernelProfile();
            device.observe(profile);
            train(device, tokens, checkpointing);
            return profile.rows(STEPS, 1000);
        }
    }

    private static KernelProfile.Row row(List<KernelProfile.Row> rows, String kernel) {
        return rows.stream()
                .filter(row -> row.kernel().equals(kernel))
                .findFirst()
                .orElseThrow();
    }

    @Test
    void everyKernelOfAStepIsCountedWithItsWork() throws IOException {
        List<KernelProfile.Row> rows = profile(20, false);
        KernelProfile.Row adapted = row(rows, "LoraLinear.forward");
        assertEquals(7 * 2, adapted.calls());
        // q and o, k and v, gate and up, down
        int[][] layers = {{64, 64}, {64, 64}, {64, 32}, {64, 32}, {64, 96}, {64, 96}, {96, 64}};
        double flops = 0;
        for (int[] layer : layers) {
            flops += 2 * 2.0 * 20 * (layer[0] * layer[1] + 4 * (layer[0] + layer[1]));
        }
        assertEquals(flops, adapted.gflopS() * adapted.milliseconds() * 1e6, 1);
        assertEquals(2 + 1, row(rows, "RmsNorm.forward").calls());
        assertEquals(2, row(rows, "AddRmsNorm.forward").calls());
        assertEquals(2, row(rows, "Attention.backward").calls());
        assertEquals(1, row(rows, "AdamW.step").calls());
    }

    @Test
    void withCheckpointingAllButTheLastBlockIsComputedTwiceAndOfABlockAllButItsEnd() throws IOException {
        List<KernelProfile.Row> rows = profile(20, true);
        assertEquals(7 + 6 + 7, row(rows, "LoraLinear.forward").calls());
        KernelProfile.Row down = row(rows, "LoraLinear.down");
        assertEquals(1, down.calls());
        assertEquals(2.0 * 20 * 4 * 96, down.gflopS() * down.milliseconds() * 1e6, 1);
        assertEquals(2 + 1, row(rows, "Attention.forward").calls());
        assertEquals(2, row(rows, "Attention.backward").calls());
    }

    @Test
    void sharesAddUpToOne() throws IOException {
        List<KernelProfile.Row> rows = profile(20, false);
        assertEquals("outside of kernels", rows.getLast().kernel());
        assertEquals(1, rows.stream().mapToDouble(KernelProfile.Row::share).sum(), 1e-9);
    }

    /** Of so few tokens that the adapter has its base computed by the base's own kernel. */
    @Test
    void aKernelThatAnotherCallsIsPartOfTheOther() throws IOException {
        List<KernelProfile.Row> rows = profile(2, false);
        assertTrue(row(rows, "LoraLinear.forward").calls() > 0);
        assertFalse(rows.stream().anyMatch(row -> row.kernel().startsWith("Nf4Linear")));
    }

    @Test
    void lookingOnChangesNothing() throws IOException {
        try (CpuDevice device = new CpuDevice(1)) {
            List<Double> losses = train(device, 20, false);
            device.observe(new KernelProfile());
            assertEquals(losses, train(device, 20, false));
        }
    }

    @Test
    void withNobodyLookingOnKernelsAreHandedOutAsTheyAre() {
        try (CpuDevice device = new CpuDevice(1)) {
            RmsNorm.Kernel kernel = device.kernel(RmsNorm.Kernel.class);
            device.observe(new KernelProfile());
            assertFalse(device.kernel(RmsNorm.Kernel.class) == kernel);
            device.observe(null);
            assertSame(kernel, device.kernel(RmsNorm.Kernel.class));
        }
    }

    @Test
    void whatAKernelThrowsIsThrown() {
        try (CpuDevice device = new CpuDevice(1);
                ModelMemory memory = new ModelMemory(device)) {
            Tensor x = memory.zeros(DType.F32, 20, 4);
            Tensor w = memory.zeros(DType.F32, 3, 5);
            Linear.Kernel kernel = device.kernel(Linear.Kernel.class);
            RuntimeException plain = thrown(() -> kernel.forward(x, w, x));
            device.observe(new KernelProfile());
            Linear.Kernel observed = device.kernel(Linear.Kernel.class);
            RuntimeException seen = thrown(() -> observed.forward(x, w, x));
            assertEquals(plain.getClass(), seen.getClass());
            assertEquals(plain.getMessage(), seen.getMessage());
        }
    }

    private static RuntimeException thrown(Runnable run) {
        try {
            run.run();
        } catch (RuntimeException e) {
            return e;
        }
        throw new AssertionError("nothing was thrown");
    }
}
