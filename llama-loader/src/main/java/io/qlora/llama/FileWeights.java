package io.qlora.llama;

import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.safetensors.MalformedFileException;
import io.qlora.engine.safetensors.MappedTensor;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;
import io.qlora.nf4.Nf4;
import java.io.IOException;
import java.lang.System.Logger.Level;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/**
 * Weights from a directory. What stays dense stays mapped, or is copied to a device that has memory of its own; what is
 * quantised is there for that long only, one tensor at a time, so that loading needs the 4-bit model and the largest single
 * tensor at most.
 */
final class FileWeights implements WeightSource {

    private static final System.Logger LOG = System.getLogger("io.qlora.llama");

    private final Layout layout;
    private final ModelFiles files;
    private final LoadOptions options;
    private final ModelMemory memory;
    private final Device device;
    private final StoredTensors stored;
    private final BitsAndBytesReader fourBit;
    private final boolean quantised; // already, in the files

    /**
     * Weights from files.
     *
     * @param mapped where to keep what has to stay mapped as long as the model
     * @throws MalformedFileException if the files hold tensors that belong to another kind of model, or what they hold does
     *     not go with the options
     */
    FileWeights(Layout layout, ModelFiles files, LoadOptions options, ModelMemory memory, List<MappedTensor> mapped)
            throws MalformedFileException {
        this.layout = layout;
        this.files = files;
        this.options = options;
        this.memory = memory;
        this.device = memory.device();
        this.quantised = BitsAndBytesReader.anyIn(files);
        if (quantised && options.quantization() == LoadOptions.Quantization.NONE) {
            throw new MalformedFileException(
                    files.directory(),
                    "expected weights in 16 or 32 bit for quantization none, found a 4-bit checkpoint: load it with nf4, "
                            + "or take the 16-bit model");
        }
        this.stored = new StoredTensors(files, memory, mapped);
        this.fourBit = new BitsAndBytesReader(files, stored, memory);
        requireAll();
        requireNothingElse();
    }

    // Before any work is done, since that may take minutes.
    private void requireAll() throws MalformedFileException {
        for (Layout.Spec spec : layout.specs()) {
            boolean optional = spec.equals(layout.head()) && layout.config().tieWordEmbeddings();
            boolean quantised = fourBit.has(spec);
            if (quantised && (spec.equals(layout.head()) || spec.equals(layout.embedding()))) {
                throw fourBit.refusedTable(spec);
            }
            if (!quantised && (!optional || files.contains(spec.name()))) {
                files.file(stored(spec));
            }
        }
    }

    // A tensor inside a block that is none of Llama's has a part in the computation; elsewhere it is as likely ballast.
    private void requireNothingElse() throws MalformedFileException {
        Set<String> known = layout.specs().stream().map(Layout.Spec::name).collect(Collectors.toSet());
        Predicate<String> expected = name -> known.contains(name)
                || known.contains(BitsAndBytesReader.weightOf(name))
                || name.endsWith("rotary_emb.inv_freq");
        List<String> others = files.names().stream().filter(expected.negate()).toList();
        Optional<String> inside =
                others.stream().filter(name -> name.startsWith(Layout.LAYERS)).findFirst();
        if (inside.isPresent()) {
            throw new MalformedFileException(
                    files.file(inside.get(), "").path(),
                    "expected the tensors of a Llama model with num_hidden_layers "
                            + layout.config().numHiddenLayers() + ", found " + inside.get()
                            + " too: the model would be computed wrongly");
        }
        if (!others.isEmpty()) {
            LOG.log(
                    Level.WARNING,
                    "{0}: {1} tensors are not part of a Llama model and are left out: {2}",
                    files.directory(),
                    others.size(),
                    String.join(", ", others.subList(0, Math.min(others.size(), 5))));
        }
    }

    // As in transformers 5, a head that is there and is not the embedding is one of its own, whatever the config says.
    @Override
    public boolean tied() throws IOException {
        Layout.Spec head = layout.head();
        if (!layout.config().tieWordEmbeddings()) {
            return false;
        }
        if (!files.contains(head.name()) || !files.contains(layout.embedding().name())) {
            return true;
        }
        try (MappedTensor first = files.map(layout.embedding(), device);
                MappedTensor second = files.map(head, device)) {
            if (first.tensor().dtype() == second.tensor().dtype()
                    && first.tensor().segment().mismatch(second.tensor().segment()) < 0) {
                return true;
            }
        }
        LOG.log(
                Level.WARNING,
                "{0}: tie_word_embeddings is true, but {1} is there and differs from the embedding: it is used",
                files.directory(),
                head.name());
        return false;
    }

    @Override
    public DenseWeight table(Layout.Spec spec) throws IOException {
        return stored.dense(stored(spec));
    }

    /** The values of a weight, widened to float32, copied to {@code target}. */
    void copy(Layout.Spec spec, Tensor target) throws IOException {
        target.set(files.read(stored(spec)));
    }

    // The name under which a tensor is stored: one that is embedding and head at once may have either.
    private Layout.Spec stored(Layout.Spec spec) throws MalformedFileException {
        Layout.Spec head = layout.head();
        boolean there = files.contains(spec.name());
        if (!there && spec.equals(layout.embedding()) && layout.config().tieWordEmbeddings()) {
            return files.contains(head.name()) ? head : spec;
        }
        if (!there && spec.equals(head)) {
            throw new MalformedFileException(
                    files.directory(),
                    head.name() + " is missing: expected " + head
                            + ", since tie_word_embeddings is false; if it is to be the embedding, set that to true in "
                            + ConfigReader.FILE);
        }
        return spec;
    }

    @Override
    public Weight linear(Layout.Spec spec) throws IOException {
        if (fourBit.has(spec)) {
            return fourBit.read(spec);
        }
        // In a 4-bit checkpoint, what is stored in full was left out of the quantisation on purpose.
        if (quantised || options.quantization() == LoadOptions.Quantization.NONE) {
            return stored.dense(spec);
        }
        return stored.during(spec, values -> Nf4.quantize(values, options.doubleQuant(), memory, device));
    }

    @Override
    public Tensor norm(Layout.Spec spec) throws IOException {
        return memory.empty(DType.F32, spec.out()).set(files.read(spec));
    }

    @Override
    public void close() {
        stored.close();
    }
}
