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

/**
 * Weights from a directory. What stays dense stays mapped, or is copied to a device that has memory of its own; what is
 * quantised is there for that long only, one tensor at a time, so that loading needs the 4-bit model and the largest single
 * tensor at most.
 */
final class FileWeights implements WeightSource {

    private static final System.Logger LOG = System.getLogger("io.qlora.llama");

    private final ModelFiles files;
    private final StoredModel storedModel;
    private final LoadOptions options;
    private final ModelMemory memory;
    private final Device device;
    private final StoredTensors stored;
    private final BitsAndBytesReader fourBit;
    private final boolean tied;

    /**
     * Weights from files.
     *
     * @param mapped where to keep what has to stay mapped as long as the model
     * @throws MalformedFileException as {@link StoredModel}: before any work is done, since that may take minutes
     */
    FileWeights(Layout layout, ModelFiles files, LoadOptions options, ModelMemory memory, List<MappedTensor> mapped)
            throws IOException {
        this.files = files;
        this.storedModel = new StoredModel(layout, files, options);
        this.options = options;
        this.memory = memory;
        this.device = memory.device();
        this.stored = new StoredTensors(files, memory, mapped);
        this.fourBit = new BitsAndBytesReader(files, stored, memory);
        this.tied = storedModel.tied(device);
        warn(layout);
    }

    private void warn(Layout layout) {
        List<String> leftOut = storedModel.leftOut();
        if (!leftOut.isEmpty()) {
            LOG.log(
                    Level.WARNING,
                    "{0}: {1} tensors are not part of a Llama model and are left out: {2}",
                    files.directory(),
                    leftOut.size(),
                    String.join(", ", leftOut.subList(0, Math.min(leftOut.size(), 5))));
        }
        if (layout.config().tieWordEmbeddings() && !tied) {
            LOG.log(
                    Level.WARNING,
                    "{0}: tie_word_embeddings is true, but {1} is there and differs from the embedding: it is used",
                    files.directory(),
                    layout.head().name());
        }
    }

    @Override
    public boolean tied() {
        return tied;
    }

    @Override
    public DenseWeight table(Layout.Spec spec) throws IOException {
        return stored.dense(storedModel.stored(spec));
    }

    /** The values of a weight, widened to float32, copied to {@code target}. */
    void copy(Layout.Spec spec, Tensor target) throws IOException {
        target.set(files.read(storedModel.stored(spec)));
    }

    @Override
    public Weight linear(Layout.Spec spec) throws IOException {
        return switch (storedModel.form(spec)) {
            case DENSE -> stored.dense(spec);
            case FOUR_BIT -> fourBit.read(spec);
            case TO_BE_QUANTISED ->
                stored.during(
                        spec, values -> Nf4.quantize(values, options.doubleQuant(), memory, stored.passing(), device));
        };
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
