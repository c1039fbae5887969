package io.qlora.trainer;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.tensor.Device;
import io.qlora.llama.GenerationOptions;
import io.qlora.llama.Generator;
import io.qlora.llama.LlamaModel;
import io.qlora.llama.LlamaTokenizer;
import io.qlora.llama.LoadOptions;
import io.qlora.llama.TextStream;
import io.qlora.lora.LoraAdapter;
import io.qlora.lora.LoraConfig;
import io.qlora.trainer.data.DataSet;
import io.qlora.trainer.data.Encoding;
import io.qlora.trainer.data.TokenizerEncoding;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.IntStream;

/**
 * A model and the adapter that is trained on it: fine-tuning in three lines.
 *
 * <pre>{@code
 * try (FineTuner tuner = FineTuner.on(Path.of("llama")).lora(LoraConfig.builder().r(16).build()).open()) {
 *     tuner.train(tuner.read(Path.of("train.jsonl")), TrainingConfig.builder().numTrainEpochs(1).build());
 *     tuner.save(Path.of("adapter"));
 * }
 * }</pre>
 *
 * Unless told otherwise the model's linears are quantised to NF4 with double quantisation while they are read, and every
 * one of them is given a LoRA adapter of rank 8, on the processor. All memory is given back on {@link #close}; a device that
 * was given stays open, and is its owner's to close afterwards. One thread at a time, on a card the one that opened it;
 * several fine-tuners may work in one JVM.
 */
public final class FineTuner implements AutoCloseable {

    private final Path directory;
    private final Device device;
    private final boolean own; // whether the device goes with this
    private final LlamaModel model;
    private final LlamaTokenizer tokenizer;
    private final ModelMemory memory; // of the adapter
    private final LoraAdapter adapter;
    private boolean closed;

    private FineTuner(Builder builder) throws IOException {
        this.directory = builder.model;
        this.own = builder.device == null;
        Device opened = own ? new CpuDevice(builder.threads) : builder.device;
        LlamaModel loaded = null;
        LlamaTokenizer words = null;
        ModelMemory adapters = null;
        try {
            loaded = LlamaModel.load(directory, builder.options, opened);
            words = LlamaTokenizer.load(directory, loaded.config());
            adapters = new ModelMemory(opened);
            this.adapter = builder.adapter == null
                    ? LoraAdapter.create(builder.lora, loaded.linears(), adapters, builder.seed)
                    : LoraAdapter.load(builder.adapter, loaded.linears(), adapters);
            adapter.attach();
        } catch (IOException | RuntimeException | Error e) {
            closeAll(adapters, words, loaded, own ? opened : null);
            throw e;
        }
        this.device = opened;
        this.model = loaded;
        this.tokenizer = words;
        this.memory = adapters;
    }

    private static void closeAll(ModelMemory adapters, LlamaTokenizer words, LlamaModel model, Device device) {
        if (adapters != null) {
            adapters.close();
        }
        if (words != null) {
            words.close();
        }
        if (model != null) {
            model.close();
        }
        if (device != null) {
            device.close();
        }
    }

    /**
     * Begins to describe a fine-tuner on a model.
     *
     * @param model a Hugging Face directory: {@code config.json}, {@code tokenizer.json}, safetensors
     */
    public static Builder on(Path model) {
        return new Builder(model);
    }

    public LlamaModel model() {
        return model;
    }

    public LlamaTokenizer tokenizer() {
        return tokenizer;
    }

    /** The adapter, attached. */
    public LoraAdapter adapter() {
        return adapter;
    }

    /** Where it computes. */
    public Device device() {
        return device;
    }

    /** The longest documents unless asked for otherwise: 1024 tokens or the model's limit, whichever is smaller. */
    public int defaultMaxLength() {
        return DataSet.maxLength(0, model.config());
    }

    /** Reads and tokenises data files in the defaults: the model's maximal length, completions alone learnt. */
    public DataSet read(Path... files) throws IOException {
        return read(List.of(files), defaultMaxLength(), true);
    }

    /**
     * Reads and tokenises data files; see {@link DataSet#read}.
     *
     * @throws io.qlora.trainer.data.DataException if a file cannot be used, or holds nothing to learn
     */
    public DataSet read(List<Path> files, int maxLength, boolean completionOnly) throws IOException {
        requireOpen();
        return DataSet.read(files, encoding(), maxLength, completionOnly);
    }

    /** The model's tokens, as data sets want them. */
    public Encoding encoding() {
        return new TokenizerEncoding(tokenizer);
    }

    /** Trains the adapter, without evaluation, files or reports. */
    public Trainer.Outcome train(DataSet data, TrainingConfig config) throws IOException {
        return train(data, null, config, new TrainingListener() {});
    }

    /**
     * Trains the adapter.
     *
     * @param eval what to measure on, or null
     * @throws IllegalArgumentException if {@link TrainingConfig#saveSteps} asks for checkpoints, for which there is no
     *     directory here: {@link TrainingRun} makes them
     * @throws NonFiniteException if a step gives something that is not finite; the adapter is then as before it
     */
    public Trainer.Outcome train(DataSet data, DataSet eval, TrainingConfig config, TrainingListener listener)
            throws IOException {
        requireOpen();
        if (config.saveSteps() > 0) {
            throw new IllegalArgumentException("saveSteps should be 0, since only a TrainingRun has a directory for"
                    + " checkpoints, found " + config.saveSteps());
        }
        try (Trainer trainer = new Trainer(model, adapter.parameters(), config)) {
            return trainer.train(data, eval, listener);
        }
    }

    /** Measures how well the model with its adapter predicts a data set. */
    public Evaluation evaluate(DataSet data) {
        requireOpen();
        try (StepMemory step = new StepMemory(device)) {
            return new Evaluator(model, step, 8).evaluate(data);
        }
    }

    /**
     * Continues a prompt as the adapter now has it, from BOS, where the tokenizer puts one.
     *
     * @param prompt as in the data; that of an instruction is made by {@link io.qlora.trainer.data.DataFile#instruction}
     * @param options without ids to stop at, those of the tokenizer count
     * @return the continuation alone, special tokens left out
     * @throws IllegalArgumentException if the prompt leaves no room for a token, or there is none and no BOS
     */
    public String generate(String prompt, GenerationOptions options) {
        requireOpen();
        int[] words = tokenizer.encode(prompt);
        int[] ids = IntStream.concat(tokenizer.bosId().stream(), Arrays.stream(words))
                .toArray();
        GenerationOptions stopping = options.stopIds() == null ? options.withStopIds(tokenizer.stopIds()) : options;
        long wanted = (long) ids.length + options.maxNewTokens();
        int limit = (int) Math.min(wanted, model.config().maxPositionEmbeddings());
        TextStream stream = tokenizer.stream(ids);
        StringBuilder text = new StringBuilder();
        try (Generator generator = new Generator(model, limit)) {
            generator.generate(ids, stopping, id -> {
                text.append(stream.add(id));
                return true;
            });
        }
        return text.append(stream.rest()).toString();
    }

    /** Writes the adapter as a PEFT directory. */
    public void save(Path output) throws IOException {
        requireOpen();
        adapter.save(output, baseName());
    }

    /** What adapter files call the model. */
    String baseName() {
        return directory.toString();
    }

    private void requireOpen() {
        if (closed) {
            throw new IllegalStateException("this fine-tuner is closed");
        }
    }

    /** Gives all memory back; a second time does nothing. */
    @Override
    public void close() {
        if (closed) {
            return;
        }
        closed = true;
        adapter.detach();
        closeAll(memory, tokenizer, model, own ? device : null);
    }

    /** Describes a fine-tuner. */
    public static final class Builder {

        private final Path model;
        private LoadOptions options = LoadOptions.defaults();
        private LoraConfig lora = LoraConfig.builder().build();
        private Path adapter;
        private Device device;
        private int threads = Runtime.getRuntime().availableProcessors();
        private long seed = 42;

        private Builder(Path model) {
            this.model = Objects.requireNonNull(model);
        }

        /** What adapter to make; default rank 8 on all linears. */
        public Builder lora(LoraConfig value) {
            lora = Objects.requireNonNull(value);
            return this;
        }

        /** Goes on with an adapter from a PEFT directory instead of making one. */
        public Builder adapter(Path value) {
            adapter = value;
            return this;
        }

        /** How the weights are kept; default NF4, double quantised. */
        public Builder load(LoadOptions value) {
            options = Objects.requireNonNull(value);
            return this;
        }

        /** Where to compute; default, and null, the processor. It stays open when the fine-tuner closes. */
        public Builder device(Device value) {
            device = value;
            return this;
        }

        /** How many threads compute, where no device is given; default all processors. */
        public Builder threads(int value) {
            threads = value;
            return this;
        }

        /** Of the adapter's initialisation; default 42. */
        public Builder seed(long value) {
            seed = value;
            return this;
        }

        /**
         * Loads the model.
         *
         * @throws IOException naming file and tensor, if the model or the adapter cannot be used
         */
        public FineTuner open() throws IOException {
            return new FineTuner(this);
        }
    }
}
