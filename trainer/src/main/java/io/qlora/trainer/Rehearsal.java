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
import io.qlora.llama.GenerationOptions;
import io.qlora.llama.Generator;
import io.qlora.llama.LlamaModel;
import io.qlora.llama.LoadOptions;
import io.qlora.lora.LoraAdapter;
import io.qlora.lora.LoraConfig;
import io.qlora.trainer.data.Batches;
import io.qlora.trainer.data.DataSet;
import io.qlora.trainer.data.Document;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Set;
import java.util.function.ToIntFunction;

/** Does on a {@link PlanningDevice}, which computes nothing, what a run will do, and so finds out what it takes. */
final class Rehearsal implements AutoCloseable {

    /** What the JVM takes beside tensors: measured, see docs/memory.md. */
    private static final long JVM = 170L << 20;

    /** What copies to a card go through. */
    private static final long STAGING = 32L << 20;

    private static final long RESERVE = 256L << 20;

    /** In how many documents the largest step is looked for; for the rest of a longer run the longest documents stand. */
    private static final int MOST_DOCUMENTS = 1 << 20;

    private final Device target; // null: a processor
    private final long machine;
    private final PlanningDevice device;
    private final LlamaModel model;
    private final ModelMemory adapters;
    private final ModelMemory moments;
    private final StepMemory memory;
    private LoraAdapter adapter; // null: none
    private long cache; // of a generator, bytes
    private long heap; // of documents
    private int longest; // document

    /**
     * Of a model that is not loaded.
     *
     * @param target where the run will be; null for a processor
     */
    Rehearsal(Path model, LoadOptions load, Device target) throws IOException {
        this.target = target;
        this.machine = SystemMemory.available();
        this.device = new PlanningDevice(target);
        this.model = LlamaModel.plan(model, load, device);
        this.adapters = new ModelMemory(device);
        this.moments = new ModelMemory(device);
        this.memory = new StepMemory(device);
    }

    /** With a new adapter. */
    void create(LoraConfig lora, long seed) {
        attach(LoraAdapter.create(lora, model.linears(), adapters, seed));
    }

    /** With an adapter from a PEFT directory, which must be whole and of this model. */
    void load(Path directory) throws IOException {
        attach(LoraAdapter.load(directory, model.linears(), adapters));
    }

    private void attach(LoraAdapter given) {
        adapter = given;
        adapter.attach();
    }

    /** The largest steps of training. */
    void train(DataSet data, TrainingConfig config) {
        AdamW optimizer = new AdamW(adapter.parameters(), AdamW.Options.DEFAULT, moments);
        TrainingStep step = new TrainingStep(model, adapter.parameters(), optimizer, adapters, memory, config);
        Batches batches = new Batches(data, config.documentsPerStep(), config.seed());
        int total = config.totalSteps(batches.stepsPerEpoch());
        int most = Math.max(1, MOST_DOCUMENTS / Math.min(data.size(), config.documentsPerStep()));
        Largest largest = new Largest();
        for (long s = 1; s <= Math.min(total, most); s++) {
            Batches.split(batches.step(s), config.batchSize()).forEach(largest::add);
        }
        if (total > most) {
            largest.add(most(data, config.batchSize(), Document::length));
            largest.add(most(data, config.batchSize(), Document::targetCount));
        }
        largest.found().forEach(batch -> step.run(1, batch, config.learningRate()));
        count(data);
    }

    /** The documents that have most of something. */
    private static List<Document> most(DataSet data, int count, ToIntFunction<Document> of) {
        return data.documents().stream()
                .sorted(Comparator.comparingInt(of).reversed())
                .limit(count)
                .toList();
    }

    /** The largest batches of an evaluation. */
    void evaluate(DataSet data, int batchSize) {
        Evaluator evaluator = new Evaluator(model, memory, batchSize);
        Largest largest = new Largest();
        Batches.split(data.documents(), batchSize).forEach(largest::add);
        largest.found().forEach(batch -> evaluator.evaluate(DataSet.of(batch)));
        count(data);
    }

    private void count(DataSet data) {
        heap += data.heapBytes();
        longest = Math.max(longest, data.longest());
    }

    /**
     * A prompt and the first token behind it; the ones after that take no more.
     *
     * @param tokens of the prompt
     * @param most that the document can have
     */
    void generate(int tokens, int most) {
        GenerationOptions two =
                GenerationOptions.builder().maxNewTokens(2).stopIds(Set.of()).build();
        try (Generator generator = new Generator(model, most, memory)) {
            generator.generate(new int[tokens], two, id -> true);
            cache = generator.cacheBytes();
        }
        longest = Math.max(longest, most);
    }

    /**
     * What it takes.
     *
     * @param threads that compute, of a processor
     */
    MemoryPlan plan(int threads) {
        boolean card = target != null && !target.onHost();
        long thread = MemoryPlan.THREAD
                + CpuDevice.attentionBytes(longest, model.config().headDim());
        StepMemory.Sizes needed = memory.needed();
        return new MemoryPlan(
                target == null ? "cpu" : target.name(),
                model.weightBytes(),
                adapters.bytes(),
                moments.bytes(),
                cache,
                needed,
                card ? RESERVE + target.decodingBytes(largestEncoded()) : 0,
                JVM + heap + (card ? MemoryPlan.THREAD + STAGING : threads * thread),
                card ? 0 : threads,
                card ? target.memory().map(Device.Memory::free).orElse(machine) : machine,
                machine,
                adapter == null ? 0 : adapter.parameters().size(),
                parameters());
    }

    private long parameters() {
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
    private long largestEncoded() {
        return model.linears().stream()
                .map(AdaptableLinear::weight)
                .filter(Nf4Weight.class::isInstance)
                .mapToLong(weight -> (long) weight.out() * weight.in())
                .max()
                .orElse(0);
    }

    @Override
    public void close() {
        memory.close();
        moments.close();
        adapters.close();
        model.close();
        device.close();
    }

    /** Of some batches the one with most tokens, and the one with most targets: the largest is one of them. */
    private static final class Largest {

        private List<Document> mostTokens = List.of();
        private List<Document> mostTargets = List.of();
        private int tokens;
        private int targets;

        void add(List<Document> batch) {
            int length = batch.stream().mapToInt(Document::length).sum();
            int targetCount = batch.stream().mapToInt(Document::targetCount).sum();
            if (length > tokens) {
                tokens = length;
                mostTokens = batch;
            }
            if (targetCount > targets) {
                targets = targetCount;
                mostTargets = batch;
            }
        }

        List<List<Document>> found() {
            return mostTokens == mostTargets ? List.of(mostTokens) : List.of(mostTokens, mostTargets);
        }
    }
}
