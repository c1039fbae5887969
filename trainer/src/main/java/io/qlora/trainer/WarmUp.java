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
import java.lang.management.CompilationMXBean;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.IntStream;

/**
 * Has the JVM's compiler translate the kernels while a model loads: training steps of models so small that it hardly
 * matters that they are interpreted at first, where the first step of a real one would take seconds. Results do not depend
 * on it. For the processor; on any other device it does nothing.
 *
 * <p>First a model whose steps are cheapest; then one large enough for what the first leaves out, such as sums in more than one
 * part, so that the compiler need not take back what it assumed. Each until the compiler has little left to do.
 */
public final class WarmUp implements AutoCloseable {

    private static final Shape TINY =
            new Shape(32, 64, 2, 13, 15_000_000); // more tokens than are multiplied row by row
    private static final Shape SMALL = new Shape(320, 576, 10, 70, 40_000_000);
    private static final long TINY_END = 4_000_000_000L; // nanoseconds from the beginning, at the latest, and a step
    private static final long SMALL_END = 6_000_000_000L;

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
        long begin = System.nanoTime();
        if (TINY.train(begin + TINY_END)) { // else SMALL's first step could take minutes
            SMALL.train(begin + SMALL_END);
        }
    }

    /**
     * One layer, with two heads to a key and value head; documents of as many different tokens.
     *
     * @param compiled nanoseconds that a step takes at most when its kernels are compiled; when not, several times as many
     */
    private record Shape(int hidden, int intermediate, int heads, int tokens, long compiled) {

        /** Trains until the compiler rests, or {@code System.nanoTime()} is {@code end}; returns whether steps are fast by then. */
        boolean train(long end) {
            try (CpuDevice device = new CpuDevice(1);
                    LlamaModel model = LlamaModel.synthetic(config(), LoadOptions.defaults(), 1, device);
                    ModelMemory state = new ModelMemory(device);
                    StepMemory memory = new StepMemory(device)) {
                LoraConfig lora = LoraConfig.builder().r(16).build();
                LoraAdapter adapter = LoraAdapter.create(lora, model.linears(), state, 1);
                adapter.attach();
                AdamW optimizer = new AdamW(adapter.parameters(), AdamW.Options.DEFAULT, state);
                TrainingConfig training = TrainingConfig.builder().build();
                TrainingStep step = new TrainingStep(model, adapter.parameters(), optimizer, state, memory, training);
                Compiler compiler = new Compiler();
                boolean fast = false;
                for (long n = 1; System.nanoTime() - end < 0 && !(fast && compiler.rests()); n++) {
                    long start = System.nanoTime();
                    step.run(n, List.of(document()), 1e-4);
                    fast |= System.nanoTime() - start < compiled;
                }
                return fast;
            }
        }

        private LlamaConfig config() {
            return LlamaConfig.builder()
                    .vocabSize(2 * tokens)
                    .hiddenSize(hidden)
                    .numHiddenLayers(1)
                    .numAttentionHeads(heads)
                    .numKeyValueHeads(heads / 2)
                    .intermediateSize(intermediate)
                    .maxPositionEmbeddings(tokens)
                    .bosTokenId(OptionalInt.empty())
                    .build();
        }

        private Document document() {
            boolean[] targets = new boolean[tokens];
            Arrays.fill(targets, 1, tokens, true);
            return new Document(IntStream.range(0, tokens).toArray(), targets);
        }
    }

    /** How busy the JVM's compiler is. */
    private static final class Compiler {

        private static final long WINDOW = 500_000_000; // nanoseconds
        private static final double LITTLE = 0.25; // of a thread's time

        private final CompilationMXBean compiler = ManagementFactory.getCompilationMXBean();
        private long since = System.nanoTime();
        private long before = milliseconds();

        /** Whether it did little for half a second; asked every few milliseconds. */
        boolean rests() {
            long now = System.nanoTime();
            if (now - since < WINDOW) {
                return false;
            }
            long total = milliseconds();
            boolean rests = 1e6 * (total - before) < LITTLE * (now - since);
            since = now;
            before = total;
            return rests;
        }

        /** Of compiling, all threads together; 0 always where the JVM has no compiler, or does not say. */
        private long milliseconds() {
            return compiler != null && compiler.isCompilationTimeMonitoringSupported()
                    ? compiler.getTotalCompilationTime()
                    : 0;
        }
    }

    /** Waits until it is done: some seconds after it began, or fewer. */
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
