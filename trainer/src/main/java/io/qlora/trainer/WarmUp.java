package io.qlora.trainer;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.cpu.Vectors;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.optim.AdamW;
import io.qlora.engine.tensor.Device;
import io.qlora.llama.LlamaConfig;
import io.qlora.llama.LlamaModel;
import io.qlora.llama.LoadOptions;
import io.qlora.lora.LoraAdapter;
import io.qlora.lora.LoraConfig;
import io.qlora.trainer.data.Document;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;

/**
 * Has the JVM's compiler translate the kernels while a model loads: training steps of a model so small that it hardly
 * matters that they are interpreted at first, where the first step of a real one would take seconds. Results do not depend
 * on it. For the processor; on any other device it does nothing.
 */
public final class WarmUp implements AutoCloseable {

    private static final long NANOSECONDS = 1_000_000_000L; // and the step that is under way then
    private static final int TOKENS = 13; // more than are multiplied row by row
    private static final int VOCABULARY = 64;

    private final Thread thread;

    private WarmUp(Thread thread) {
        this.thread = thread;
    }

    /**
     * Begins, on a thread of its own. To be closed before the first real step.
     *
     * @param device where those steps will be; null for the processor
     */
    public static WarmUp begin(Device device) {
        boolean vectors = device == null ? Vectors.available() : device instanceof CpuDevice cpu && cpu.vectors();
        if (!vectors) {
            return new WarmUp(null);
        }
        return new WarmUp(Thread.ofPlatform().name("qlora-warm-up").daemon().start(WarmUp::run));
    }

    private static void run() {
        long end = System.nanoTime() + NANOSECONDS;
        try (CpuDevice device = new CpuDevice(1);
                LlamaModel model = LlamaModel.synthetic(config(), LoadOptions.defaults(), 1, device);
                ModelMemory state = new ModelMemory(device);
                StepMemory memory = new StepMemory(device)) {
            LoraAdapter adapter = LoraAdapter.create(LoraConfig.builder().r(16).build(), model.linears(), state, 1);
            adapter.attach();
            AdamW optimizer = new AdamW(adapter.parameters(), AdamW.Options.DEFAULT, state);
            TrainingConfig config = TrainingConfig.builder().build();
            TrainingStep step = new TrainingStep(model, adapter.parameters(), optimizer, state, memory, config);
            for (long n = 1; System.nanoTime() < end; n++) {
                step.run(n, List.of(document()), 1e-4);
            }
        }
    }

    private static LlamaConfig config() {
        return LlamaConfig.builder()
                .vocabSize(VOCABULARY)
                .hiddenSize(32)
                .numHiddenLayers(1)
                .numAttentionHeads(2)
                .numKeyValueHeads(1)
                .intermediateSize(64)
                .maxPositionEmbeddings(TOKENS)
                .bosTokenId(OptionalInt.empty())
                .build();
    }

    private static Document document() {
        boolean[] targets = new boolean[TOKENS];
        Arrays.fill(targets, 1, TOKENS, true);
        return new Document(IntStream.range(0, TOKENS).toArray(), targets);
    }

    /** Waits until it is done: about a second after it began. */
    @Override
    public void close() {
        boolean interrupted = false;
        while (thread != null && thread.isAlive()) {
            try {
                thread.join();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}
