package io.qlora.llama;

import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.files.FileErrors;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.nn.AdaptableLinear;
import io.qlora.engine.nn.StepKey;
import io.qlora.engine.ops.Attention;
import io.qlora.engine.ops.Checkpoint;
import io.qlora.engine.ops.Embedding;
import io.qlora.engine.ops.Linear;
import io.qlora.engine.ops.LinearCrossEntropy;
import io.qlora.engine.ops.OffloadedCheckpoints;
import io.qlora.engine.ops.RmsNorm;
import io.qlora.engine.ops.Rope;
import io.qlora.engine.ops.Sequences;
import io.qlora.engine.safetensors.MappedTensor;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.Tensor;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SequencedMap;
import java.util.function.BiFunction;

/**
 * A Llama language model (Touvron et al. 2023, arXiv 2302.13971; grouped-query heads and tied tables as its successors
 * have them), as transformers' {@code LlamaForCausalLM} computes it: in float32, or on a card in
 * bfloat16, with sums, normalisations' weights and losses in float32.
 *
 * <p>A model is frozen, or all of it can be trained; adapters are attached to its {@link #linears}. One thread at a time.
 */
public final class LlamaModel implements AutoCloseable {

    /** The smallest table of angles, positions; it grows with the documents that are met. */
    private static final int FIRST_POSITIONS = 512;

    private final LlamaConfig config;
    private final ModelMemory memory;
    private final List<MappedTensor> mapped;
    private final DenseWeight embedding; // [V, C]
    private final List<LlamaLayer> layers;
    private final Tensor norm; // [C]
    private final DenseWeight head; // [V, C]
    private final Parameters parameters;
    private final float[] inverseFrequencies; // [D/2]
    private Rope.Table table; // of at least the positions met so far, or null

    private LlamaModel(LlamaConfig config, ModelMemory memory, List<MappedTensor> mapped, WeightSource source)
            throws IOException {
        Layout layout = new Layout(config);
        this.config = config;
        this.memory = memory;
        this.mapped = mapped;
        this.embedding = source.table(layout.embedding());
        this.layers = new ArrayList<>();
        for (int i = 0; i < config.numHiddenLayers(); i++) {
            layers.add(LlamaLayer.of(layout, i, source));
        }
        this.norm = source.norm(layout.finalNorm());
        this.head = source.tied() ? embedding : source.table(layout.head());
        this.parameters = new Parameters(source.parameters());
        this.inverseFrequencies = config.rope().inverseFrequencies(config.headDim());
    }

    /** Makes the weights' source, which may keep tensors mapped. */
    @FunctionalInterface
    private interface Opening {
        WeightSource open(ModelMemory memory, List<MappedTensor> mapped) throws IOException;
    }

    /** Gives everything back if the model cannot be made. */
    private static LlamaModel make(LlamaConfig config, Device device, Opening opening) throws IOException {
        ModelMemory memory = new ModelMemory(device);
        List<MappedTensor> mapped = new ArrayList<>();
        try (WeightSource source = opening.open(memory, mapped)) {
            return new LlamaModel(config, memory, mapped, source);
        } catch (IOException | RuntimeException | Error e) {
            mapped.forEach(MappedTensor::close);
            memory.close();
            throw e;
        }
    }

    /**
     * Loads a Hugging Face directory: {@code config.json}, and the weights in {@code model.safetensors} or in shards with an
     * index, in F32, F16 or BF16, or in the 4-bit form of bitsandbytes. Dense weights are mapped, not copied, on a processor;
     * to a card they are copied. What is to be quantised is so tensor by tensor, and its memory is given back.
     *
     * @throws io.qlora.engine.safetensors.MalformedFileException naming file and tensor or setting, expectation and finding,
     *     if the directory does not hold a Llama model that can be computed exactly
     * @throws IOException in a sentence that names the path, if something cannot be read
     */
    public static LlamaModel load(Path directory, LoadOptions options, Device device) throws IOException {
        FileErrors.requireDirectory(directory);
        LoadEvent event = new LoadEvent();
        event.begin();
        LlamaConfig config = LlamaConfig.read(directory);
        try (ModelFiles files = ModelFiles.open(directory)) {
            LlamaModel model = make(config, device, (memory, mapped) -> {
                FileWeights stored = new FileWeights(new Layout(config), files, options, memory, mapped);
                return options.trainable() ? new TrainableWeights(stored.tied(), memory, stored::copy) : stored;
            });
            event.directory = directory.toString();
            event.quantization = options.quantization().name();
            event.bytes = model.weightBytes();
            event.commit();
            return model;
        }
    }

    /**
     * A model of the sizes that {@link #load} would give, and no values, for rehearsing a step on a device that only counts
     * memory. Weights that would be left mapped are made like the others. Of the files only headers are read.
     *
     * @throws io.qlora.engine.safetensors.MalformedFileException as {@link #load}
     * @throws IOException in a sentence that names the path, if something cannot be read
     */
    public static LlamaModel plan(Path directory, LoadOptions options, Device device) throws IOException {
        LlamaConfig config = LlamaConfig.read(directory);
        try (ModelFiles files = ModelFiles.open(directory)) {
            StoredModel stored = new StoredModel(new Layout(config), files, options);
            return make(
                    config,
                    device,
                    (memory, mapped) -> options.trainable()
                            ? new TrainableWeights(stored.tied(device), memory, (spec, target) -> {})
                            : new PlannedWeights(stored, memory));
        }
    }

    /**
     * A fresh model, all of which can be trained: linears and tables from a normal distribution of standard deviation
     * {@link LlamaConfig#initializerRange}, normalisations 1, as transformers initialises it (with other random numbers).
     *
     * @param seed the same seed gives the same weights on every machine
     */
    public static LlamaModel random(LlamaConfig config, long seed, Device device) {
        RandomInit init = new RandomInit(seed, config.initializerRange());
        return makeWithoutFiles(
                config, device, (memory, mapped) -> new TrainableWeights(config.tieWordEmbeddings(), memory, init));
    }

    /**
     * A frozen model of random weights, made on the device and kept as a checkpoint's in {@link LlamaConfig#dtype} would be:
     * for measuring.
     *
     * @param seed the same seed gives the same weights on every machine, but for their rounding
     */
    public static LlamaModel synthetic(LlamaConfig config, LoadOptions options, long seed, Device device) {
        return makeWithoutFiles(
                config, device, (memory, mapped) -> new SyntheticWeights(config, options, seed, memory));
    }

    private static LlamaModel makeWithoutFiles(LlamaConfig config, Device device, Opening opening) {
        try {
            return make(config, device, opening);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    public LlamaConfig config() {
        return config;
    }

    public Device device() {
        return memory.device();
    }

    /**
     * The linears of all blocks, block by block, in the order of transformers' modules, by their Hugging Face names. The
     * output head is not among them.
     */
    public List<AdaptableLinear> linears() {
        return layers.stream()
                .<AdaptableLinear>flatMap(layer -> layer.linears().stream())
                .toList();
    }

    /** The embedding, [V, C]. */
    public DenseWeight embedding() {
        return embedding;
    }

    /** The output head, [V, C]; the embedding itself where they are tied. */
    public DenseWeight head() {
        return head;
    }

    /** The weights of the normalisations, [C] each, by their Hugging Face names, in the order in which they are met. */
    public SequencedMap<String, Tensor> norms() {
        Layout layout = new Layout(config);
        SequencedMap<String, Tensor> norms = new LinkedHashMap<>();
        for (int i = 0; i < layers.size(); i++) {
            norms.put(layout.attentionNorm(i).name(), layers.get(i).attentionNorm());
            norms.put(layout.feedForwardNorm(i).name(), layers.get(i).feedForwardNorm());
        }
        norms.put(layout.finalNorm().name(), norm);
        return norms;
    }

    /** The weights that can be trained: all, each once, or none. */
    public Parameters parameters() {
        return parameters;
    }

    /** Bytes of all weights, those that are mapped included, gradients not. */
    public long weightBytes() {
        long bytes = embedding.byteSize();
        for (Tensor each : norms().values()) {
            bytes += each.byteSize();
        }
        for (AdaptableLinear linear : linears()) {
            bytes += linear.weight().byteSize();
        }
        return head == embedding ? bytes : bytes + head.byteSize();
    }

    /**
     * The hidden states after the last normalisation.
     *
     * @param ids I32 [T], each from 0 to V − 1
     * @param sequences the documents, T tokens in all, none longer than {@link LlamaConfig#maxPositionEmbeddings}
     * @param step what dropout is keyed by; null in evaluation, when there is none
     * @param checkpointing whether blocks are computed again on the way back instead of kept; without anything to train no
     *     block is kept either way
     * @return [T, C]
     * @throws UnsupportedOperationException if blocks' inputs are to be offloaded from a device that has no memory of its own
     * @throws IndexOutOfBoundsException naming the position, if an id is not in the vocabulary
     * @throws IllegalArgumentException if a document is too long
     */
    public Tensor forward(Tape tape, Tensor ids, Sequences sequences, StepKey step, Checkpointing checkpointing) {
        LlamaLayer.Pass pass = new LlamaLayer.Pass(sequences, step, table(sequences.longest()));
        int heads = config.numAttentionHeads();
        int kvHeads = config.numKeyValueHeads();
        LlamaLayer.Attending attending = (inner, q, k, v) -> Attention.apply(inner, q, k, v, sequences, heads, kvHeads);
        boolean frozen = tape.leaves().list().isEmpty();
        OffloadedCheckpoints offloaded = new OffloadedCheckpoints(tape);
        Tensor x = Embedding.apply(tape, ids, embedding); // [T, C]
        for (LlamaLayer layer : layers) {
            BiFunction<Tape, Tensor, Tensor> block = (inner, input) -> layer.forward(inner, input, pass, attending);
            boolean last = layer == layers.getLast();
            x = switch (frozen ? Checkpointing.BLOCKS : checkpointing) {
                case NONE -> block.apply(tape, x);
                case BLOCKS -> last && !frozen ? block.apply(tape, x) : Checkpoint.apply(tape, x, block);
                case OFFLOADED -> offloaded.apply(x, block);
            };
        }
        return RmsNorm.apply(tape, x, norm, (float) config.rmsNormEps());
    }

    /**
     * The loss: {@code scale} times the sum of the targets' negative log-likelihoods.
     *
     * @param ids I32 [T]
     * @param sequences the documents, T tokens in all
     * @param rows I32 [N]: the rows from which a target is to be predicted
     * @param targets I32 [N]: the ids to be predicted there
     * @param scale one over the number of targets of the whole optimizer step, for a mean
     * @param step what dropout is keyed by; null in evaluation, when there is none
     * @return F32 [1]
     */
    public Tensor loss(
            Tape tape,
            Tensor ids,
            Sequences sequences,
            Tensor rows,
            Tensor targets,
            float scale,
            StepKey step,
            Checkpointing checkpointing) {
        Tensor x = forward(tape, ids, sequences, step, checkpointing); // [T, C]
        return LinearCrossEntropy.apply(tape, x, head, rows, targets, scale);
    }

    /**
     * The logits of hidden states: of a few rows, since each has V.
     *
     * @param x [N, C], of what {@link #forward} gives
     * @return [N, V]
     */
    public Tensor logits(Tape tape, Tensor x) {
        return Linear.apply(tape, x, head);
    }

    /**
     * The logits of the token that comes next, of new tokens behind those in a cache, which then has them too.
     *
     * @param ids I32 [N], at least one
     * @return [1, V]
     */
    Tensor next(Tape tape, Tensor ids, KeyValueCache cache) {
        Sequences sequences = cache.append(tape, ids.length());
        LlamaLayer.Pass pass = new LlamaLayer.Pass(sequences, null, table(sequences.longest()));
        Tensor x = Embedding.apply(tape, ids, embedding); // [N, C]
        for (int i = 0; i < layers.size(); i++) {
            LlamaLayer layer = layers.get(i);
            int index = i;
            x = Checkpoint.apply(
                    tape,
                    x,
                    (inner, input) ->
                            layer.forward(inner, input, pass, (t, q, k, v) -> cache.attend(t, index, q, k, v)));
        }
        Tensor last = x.rows(ids.length() - 1L, ids.length()); // [1, C]
        return logits(tape, RmsNorm.apply(tape, last, norm, (float) config.rmsNormEps()));
    }

    private Rope.Table table(int positions) {
        if (positions > config.maxPositionEmbeddings()) {
            throw new IllegalArgumentException("a document of " + positions + " tokens is longer than the model's "
                    + config.maxPositionEmbeddings() + " positions (max_position_embeddings): cut it");
        }
        if (table == null || table.maxPositions() < positions) {
            int grown = Math.max(FIRST_POSITIONS, Integer.highestOneBit(2 * positions - 1));
            table = Rope.Table.of(memory, inverseFrequencies, 1f, Math.min(grown, config.maxPositionEmbeddings()));
        }
        return table;
    }

    /**
     * Writes a model that can be trained as a Hugging Face directory: {@code config.json} and {@code model.safetensors}. The
     * tokenizer is not the model's; copy its files beside.
     *
     * @param dtype F32 or BF16; what the weights are rounded to
     * @throws IllegalStateException if the model cannot be trained: it is that of the files it came from
     * @throws IOException in a sentence that names the path, if it cannot be written; what was there before stays
     */
    public void save(Path directory, DType dtype) throws IOException {
        if (parameters.list().isEmpty()) {
            throw new IllegalStateException("only a model that can be trained is saved: this one is as it was loaded");
        }
        Map<String, Tensor> weights = new LinkedHashMap<>();
        parameters.forEach(parameter -> weights.put(parameter.name(), parameter.value()));
        ModelWriter.write(config, head == embedding, weights, directory, dtype);
    }

    /** Gives all memory back and unmaps the files. Adapters are not the model's. */
    @Override
    public void close() {
        mapped.forEach(MappedTensor::close);
        memory.close();
    }
}
