package io.qlora.lora;

import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.nn.AdaptableLinear;
import io.qlora.engine.ops.Philox;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * A LoRA adapter on a model: A and B for each of the linears that its configuration means. Made anew or read from a PEFT
 * directory; attached to the model, switched off, or exchanged for another while the model stays loaded. One thread at a
 * time.
 */
public final class LoraAdapter {

    private static final System.Logger LOG = System.getLogger(LoraAdapter.class.getName());

    /** Keeps the counters of initialisation apart from all others under the same seed: "LoRA". */
    private static final int DOMAIN = 0x4c6f5241;

    private final LoraConfig config;
    private final Targets targets;
    private final ModelMemory memory;
    private final Tensor values; // F32 [n]: A, then B, of each layer
    private final List<LoraLayer> layers = new ArrayList<>();
    private Parameters parameters;

    private LoraAdapter(LoraConfig config, Targets targets, ModelMemory memory) {
        this.config = config;
        this.targets = targets;
        this.memory = memory;
        long size = 0;
        for (int site : targets.sites()) {
            AdaptableLinear linear = targets.linears().get(site);
            size += config.rank(linear.name())
                    * ((long) linear.weight().in() + linear.weight().out());
        }
        this.values = memory.empty(DType.F32, size);
        long from = 0;
        for (int site : targets.sites()) {
            AdaptableLinear linear = targets.linears().get(site);
            Weight base = linear.weight();
            int rank = config.rank(linear.name());
            Tensor a = part(values, from, rank, base.in());
            Tensor b = part(values, from + a.size(), base.out(), rank);
            from += a.size() + b.size();
            LoraLinear.LowRank matrices = new LoraLinear.LowRank(a, b, config.scale(linear.name()));
            layers.add(new LoraLayer(linear, matrices, (float) config.loraDropout(), site));
        }
    }

    /** A matrix of a run of them that begins at element {@code from}. */
    private static Tensor part(Tensor run, long from, long rows, long cols) {
        return run.rows(from, from + rows * cols).reshape(rows, cols);
    }

    /**
     * A new adapter, which changes nothing yet: A is uniform within ±1/√in, as PEFT's default (kaiming-uniform with a = √5)
     * has it, B zero.
     *
     * @param linears all linears of the model
     * @param memory where to put it; it lives as long
     * @param seed a linear's A depends on this, its index and its shape alone
     * @throws IllegalArgumentException if the configuration means none of the linears, naming what there is, or the output
     *     head or the embedding
     */
    public static LoraAdapter create(
            LoraConfig config, List<? extends AdaptableLinear> linears, ModelMemory memory, long seed) {
        Targets.requireInside(config);
        LoraAdapter adapter = new LoraAdapter(config, Targets.of(config, linears), memory);
        for (String name : Targets.unmatched(config, linears)) {
            LOG.log(System.Logger.Level.WARNING, "target_modules: no linear of the model is called {0}", name);
        }
        for (LoraLayer layer : adapter.layers) {
            LoraLinear.LowRank matrices = layer.matrices();
            matrices.a().set(uniform(matrices.a(), layer.site(), seed));
            matrices.b().device().zero(matrices.b());
        }
        return adapter;
    }

    private static float[] uniform(Tensor a, int site, long seed) {
        Philox.Key key = Philox.Key.of(seed);
        float bound = (float) (1 / Math.sqrt(a.cols()));
        float[] values = new float[Math.toIntExact(a.size())];
        int[] words = new int[4];
        for (int i = 0; i < values.length; i++) {
            if (i % 4 == 0) {
                Philox.block(i / 4, site, 0, DOMAIN, key, words);
            }
            // 24 bits, what a float holds: from −1 to below 1
            values[i] = ((words[i % 4] >>> 8) * 0x1p-23f - 1) * bound;
        }
        return values;
    }

    /**
     * The adapter in a PEFT directory.
     *
     * @param linears all linears of the model
     * @param memory where to put it; it lives as long
     * @throws io.qlora.engine.safetensors.MalformedFileException naming file and key: for what is no LoRA adapter, is one
     *     that would be computed wrongly, or belongs to another model
     * @throws IOException in a sentence that names the file, if it cannot be read
     */
    public static LoraAdapter load(Path directory, List<? extends AdaptableLinear> linears, ModelMemory memory)
            throws IOException {
        LoraConfig config = PeftFiles.readConfig(directory);
        LoraAdapter adapter = new LoraAdapter(config, PeftFiles.targets(directory, config, linears), memory);
        PeftFiles.readWeights(directory, adapter.layers);
        return adapter;
    }

    /**
     * Writes a PEFT directory: {@code adapter_config.json}, {@code adapter_model.safetensors} and, where there is none,
     * {@code README.md}. Nothing is ever half-written. Targets that also mean modules that are no linears, at which PEFT
     * would fail, are written as the names of the linears.
     *
     * @param baseModel the base's name or path, for whoever opens it
     * @throws IOException in a sentence that names the file; an adapter that was there before is then untouched
     */
    public void save(Path directory, String baseModel) throws IOException {
        LoraConfig.Builder saved = config.toBuilder().baseModelNameOrPath(baseModel);
        if (targets.passesOver(config)) {
            saved.targetModules(new TargetModules.Names(targets.names()));
        }
        PeftFiles.write(directory, saved.build(), targets.names(), layers);
    }

    public LoraConfig config() {
        return config;
    }

    /** The names of the linears that it adapts, in the model's order. */
    public List<String> modules() {
        return layers.stream().map(layer -> layer.linear().name()).toList();
    }

    /** What is trained: A, then B, of each linear in the model's order, under their names in files. */
    public Parameters parameters() {
        if (parameters == null) { // the gradients' memory is for those who train
            Tensor gradients = memory.zeros(DType.F32, values.size());
            List<Parameter> list = new ArrayList<>();
            long from = 0;
            for (LoraLayer layer : layers) {
                Tensor a = layer.matrices().a();
                Tensor b = layer.matrices().b();
                list.add(new Parameter(layer.nameOfA(), a, part(gradients, from, a.length(), a.cols())));
                from += a.size();
                list.add(new Parameter(layer.nameOfB(), b, part(gradients, from, b.length(), b.cols())));
                from += b.size();
            }
            parameters = new Parameters(list, new Parameters.Run(values, gradients));
        }
        return parameters;
    }

    /** Has the model computed with this adapter, and no other. Not while it is running. */
    public void attach() {
        targets.linears().forEach(linear -> linear.attach(null));
        layers.forEach(layer -> layer.linear().attach(layer));
    }

    /** Has the model computed without this adapter; another that was attached since stays. Not while it is running. */
    public void detach() {
        for (LoraLayer layer : layers) {
            if (layer.equals(layer.linear().attached())) {
                layer.linear().attach(null);
            }
        }
    }

    /** Whether the model is computed with this adapter. */
    public boolean isAttached() {
        return layers.stream().allMatch(layer -> layer.equals(layer.linear().attached()));
    }
}
