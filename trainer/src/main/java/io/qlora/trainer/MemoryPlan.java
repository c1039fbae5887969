package io.qlora.trainer;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.PlanningDevice;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.nn.AdaptableLinear;
import io.qlora.engine.optim.AdamW;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.llama.LlamaConfig;
import io.qlora.llama.LlamaModel;
import io.qlora.llama.LoadOptions;
import io.qlora.lora.LoraAdapter;
import io.qlora.trainer.data.Batches;
import io.qlora.trainer.data.DataSet;
import io.qlora.trainer.data.Document;
import java.io.IOException;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;

/**
 * What a run will take, in bytes: on a processor all of it of the machine's memory, on a card most of it of the card's. Not
 * estimated: the run's own largest step is rehearsed on a device that computes nothing and counts.
 *
 * @param device where it runs, as in reports
 * @param weights the model's, as they are kept
 * @param adapter its parameters, their gradients, and the parameters before the last step
 * @param optimizer AdamW's two moments
 * @param step what the largest micro-batch takes: activations with what is saved for the way back, their gradients, and what
 *     of them waits in the machine's memory
 * @param reserve of a card's memory: for the kernels' code, what libraries take, and the largest weight decoded; 0 on a
 *     processor
 * @param jvm a share of the machine's memory for the JVM itself: code, heap with the documents, threads, packed panels,
 *     buffers of copies
 * @param available what the device has free: on a processor the machine, or what a container's limit leaves
 * @param machine what the machine has free
 * @param trainable number of adapter parameters
 * @param modelParameters number of parameters of the model
 */
public record MemoryPlan(
        String device,
        long weights,
        long adapter,
        long optimizer,
        StepMemory.Sizes step,
        long reserve,
        long jvm,
        long available,
        long machine,
        long trainable,
        long modelParameters) {

    /** What the JVM takes beside tensors: measured, see docs/memory.md. */
    static final long JVM = 170L << 20;

    /** What is added for each thread: its stack, its packed panels. */
    private static final long THREAD = 12L << 20;

    /** What copies to a card go through. */
    private static final long STAGING = 32L << 20;

    private static final long RESERVE = 256L << 20;

    /** How many steps are looked at for the largest; for the rest of a longer run the longest documents stand. */
    private static final int MOST_STEPS = 1 << 20;

    static MemoryPlan of(RunOptions options, Device target, DataSet train, DataSet eval) throws IOException {
        TrainingConfig training = options.training();
        boolean card = target != null && !target.onHost();
        long machine = SystemMemory.available();
        try (PlanningDevice device = new PlanningDevice(target);
                LlamaModel model = LlamaModel.plan(options.model(), options.load(), device);
                ModelMemory adapters = new ModelMemory(device);
                ModelMemory moments = new ModelMemory(device);
                StepMemory memory = new StepMemory(device)) {
            LoraAdapter adapter = LoraAdapter.create(options.lora(), model.linears(), adapters, training.seed());
            adapter.attach();
            AdamW optimizer = new AdamW(adapter.parameters(), AdamW.Options.DEFAULT, moments);
            TrainingStep step = new TrainingStep(model, adapter.parameters(), optimizer, adapters, memory, training);
            for (List<Document> batch : largest(train, training)) {
                step.run(1, batch, training.learningRate());
            }
            if (eval != null) {
                new Evaluator(model, memory, training.batchSize()).evaluate(longest(eval, training.batchSize()));
            }
            return new MemoryPlan(
                    target == null ? "cpu" : target.name(),
                    model.weightBytes(),
                    adapters.bytes(),
                    moments.bytes(),
                    memory.needed(),
                    card ? RESERVE + target.decodingBytes(largestEncoded(model)) : 0,
                    JVM
                            + (card ? THREAD + STAGING : threads(options.threads(), model.config(), train, eval))
                            + heap(train)
                            + heap(eval),
                    card ? target.memory().map(Device.Memory::free).orElse(machine) : machine,
                    machine,
                    adapter.parameters().size(),
                    parameters(model));
        }
    }

    private static long threads(int threads, LlamaConfig config, DataSet train, DataSet eval) {
        int longest = Math.max(train.longest(), eval == null ? 0 : eval.longest());
        return threads * (THREAD + CpuDevice.attentionBytes(longest, config.headDim()));
    }

    private static long heap(DataSet data) {
        return data == null ? 0 : data.heapBytes();
    }

    private static long parameters(LlamaModel model) {
        long tables = model.embedding().tensor().size();
        if (model.head() != model.embedding()) {
            tables += model.head().tensor().size();
        }
        long norms = model.norms().values().stream().mapToLong(Tensor::size).sum();
        long linears = model.linears().stream()
                .mapToLong(
                        linear -> (long) linear.weight().out() * linear.weight().in())
                .sum();
        return tables + norms + linears;
    }

    /** Elements of the largest weight in 4 bits. */
    private static long largestEncoded(LlamaModel model) {
        return model.linears().stream()
                .map(AdaptableLinear::weight)
                .filter(Nf4Weight.class::isInstance)
                .mapToLong(weight -> (long) weight.out() * weight.in())
                .max()
                .orElse(0);
    }

    /** The micro-batches of the run with most tokens, and with most targets. */
    private static List<List<Document>> largest(DataSet train, TrainingConfig training) {
        Batches batches = new Batches(train, training.documentsPerStep(), training.seed());
        int total = training.totalSteps(batches.stepsPerEpoch());
        List<Document> mostTokens = List.of();
        List<Document> mostTargets = List.of();
        Comparator<List<Document>> tokens =
                Comparator.comparingInt(b -> sum(b.stream().map(Document::length)));
        Comparator<List<Document>> targets =
                Comparator.comparingInt(b -> sum(b.stream().map(Document::targetCount)));
        for (long s = 1; s <= Math.min(total, MOST_STEPS); s++) {
            for (List<Document> batch : Batches.split(batches.step(s), training.batchSize())) {
                mostTokens = tokens.compare(batch, mostTokens) > 0 ? batch : mostTokens;
                mostTargets = targets.compare(batch, mostTargets) > 0 ? batch : mostTargets;
            }
        }
        Set<List<Document>> distinct = new HashSet<>(List.of(mostTokens));
        distinct.add(mostTargets);
        if (total > MOST_STEPS) {
            distinct.add(longest(train, training.batchSize()).documents());
        }
        return List.copyOf(distinct);
    }

    private static int sum(Stream<Integer> numbers) {
        return numbers.mapToInt(Integer::intValue).sum();
    }

    private static DataSet longest(DataSet data, int count) {
        return DataSet.of(data.documents().stream()
                .sorted(Comparator.comparingInt(Document::length).reversed())
                .limit(count)
                .toList());
    }

    /** Activations, what is saved for the way back, and their gradients, in the largest micro-batch. */
    public long activations() {
        return step.onDevice();
    }

    /** What of the activations waits in the machine's memory; 0 on a processor. */
    public long offloaded() {
        return step.host();
    }

    /** All that it takes of the memory of the device it runs on: on a processor simply all. */
    public long total() {
        long tensors = weights + adapter + optimizer + activations();
        return onCard() ? tensors + reserve : tensors + jvm;
    }

    /** What it takes of the machine's memory beside a card's; 0 on a processor, where that is {@link #total}. */
    public long beside() {
        return onCard() ? offloaded() + jvm : 0;
    }

    /** Whether it runs on a device with memory of its own. */
    public boolean onCard() {
        return reserve > 0;
    }

    /** Whether there is that much. */
    public boolean fits() {
        return total() <= available && beside() <= machine;
    }

    /** What would save most; for a plan that does not fit. */
    public WayOut wayOut(RunOptions options) {
        boolean checkpointing = options.training().gradientCheckpointing();
        if (beside() > machine) {
            return offloaded() > 0 ? WayOut.NO_OFFLOADING : WayOut.FEWER_PROGRAMS;
        }
        long rest = total() - activations();
        boolean tooMuch = rest > available; // whatever is done about activations
        if ((tooMuch || activations() < weights) && options.load().quantization() == LoadOptions.Quantization.NONE) {
            return WayOut.QUANTIZATION;
        }
        if (!tooMuch && !checkpointing) {
            return WayOut.CHECKPOINTING;
        }
        if (!tooMuch && options.training().batchSize() > 1) {
            return WayOut.SMALLER_BATCHES;
        }
        if (!tooMuch && onCard() && !options.training().offloadActivations()) {
            return WayOut.OFFLOADING;
        }
        if (!tooMuch) {
            return WayOut.SHORTER_DOCUMENTS;
        }
        if (adapter + optimizer > Math.max(weights, onCard() ? 0 : jvm)) {
            return WayOut.SMALLER_ADAPTER;
        }
        if (!onCard() && options.threads() * THREAD > weights) {
            return WayOut.FEWER_THREADS;
        }
        return WayOut.MORE_MEMORY;
    }
}
