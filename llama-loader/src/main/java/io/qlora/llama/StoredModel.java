package io.qlora.llama;

import io.qlora.engine.safetensors.MalformedFileException;
import io.qlora.engine.safetensors.MappedTensor;
import io.qlora.engine.safetensors.TensorEntry;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Device;
import java.io.IOException;
import java.util.List;
import java.util.Set;
import java.util.function.Predicate;
import java.util.stream.Collectors;

/**
 * Which of a model's tensors are in its files, in what form, and what becomes of them while it is loaded. Looks at nothing but
 * headers, but where a tied head is stored beside the embedding.
 */
final class StoredModel {

    /** What a linear is stored as, and kept as. */
    enum Form {
        /** Stored in full, and kept so. */
        DENSE,
        /** Stored in 4 bits, and kept so. */
        FOUR_BIT,
        /** Stored in full, and kept in 4 bits. */
        TO_BE_QUANTISED
    }

    private final Layout layout;
    private final ModelFiles files;
    private final LoadOptions options;
    private final boolean quantised; // some linears are, in the files
    private final List<String> others;

    /**
     * The model that is in these files.
     *
     * @throws MalformedFileException if the files lack a tensor, hold tensors that belong to another kind of model, or what they
     *     hold does not go with the options
     */
    StoredModel(Layout layout, ModelFiles files, LoadOptions options) throws MalformedFileException {
        this.layout = layout;
        this.files = files;
        this.options = options;
        this.quantised = BitsAndBytesReader.anyIn(files);
        if (quantised && options.quantization() == LoadOptions.Quantization.NONE) {
            throw new MalformedFileException(
                    files.directory(),
                    "expected weights in 16 or 32 bit for quantization none, found a 4-bit checkpoint: load it with nf4, "
                            + "or take the 16-bit model");
        }
        requireAll();
        this.others = others();
    }

    private void requireAll() throws MalformedFileException {
        for (Layout.Spec spec : layout.specs()) {
            boolean optional = spec.equals(layout.head()) && layout.config().tieWordEmbeddings();
            boolean fourBit = BitsAndBytesReader.has(files, spec);
            if (fourBit && (spec.equals(layout.head()) || spec.equals(layout.embedding()))) {
                throw BitsAndBytesReader.refusedTable(files, spec);
            }
            if (!fourBit && (!optional || files.contains(spec.name()))) {
                files.file(stored(spec));
            }
        }
    }

    // A tensor inside a block that is none of Llama's has a part in the computation; elsewhere it is as likely ballast.
    private List<String> others() throws MalformedFileException {
        Set<String> known = layout.specs().stream().map(Layout.Spec::name).collect(Collectors.toSet());
        Predicate<String> expected = name -> known.contains(name)
                || known.contains(BitsAndBytesReader.weightOf(name))
                || name.endsWith("rotary_emb.inv_freq");
        List<String> found = files.names().stream().filter(expected.negate()).toList();
        for (String name : found) {
            if (name.startsWith(Layout.LAYERS)) {
                throw new MalformedFileException(
                        files.file(name, "").path(),
                        "expected the tensors of a Llama model with num_hidden_layers "
                                + layout.config().numHiddenLayers() + ", found " + name
                                + " too: the model would be computed wrongly");
            }
        }
        return found;
    }

    /** The tensors that are no part of a Llama model. */
    List<String> leftOut() {
        return others;
    }

    /**
     * Whether the output head is the embedding. As in transformers 5, a head that is there and is not the embedding is one of its
     * own, whatever the config says.
     *
     * @param device whose memory the files are mapped for
     */
    boolean tied(Device device) throws IOException {
        Layout.Spec head = layout.head();
        if (!layout.config().tieWordEmbeddings()) {
            return false;
        }
        if (!files.contains(head.name()) || !files.contains(layout.embedding().name())) {
            return true;
        }
        try (MappedTensor first = files.map(layout.embedding(), device);
                MappedTensor second = files.map(head, device)) {
            return first.tensor().dtype() == second.tensor().dtype()
                    && first.tensor().segment().mismatch(second.tensor().segment()) < 0;
        }
    }

    /** What a tensor that is in full is stored as: one that is embedding and head at once may have either name. */
    Layout.Spec stored(Layout.Spec spec) throws MalformedFileException {
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

    /** What a tensor that is in full has as its elements. */
    DType dtype(Layout.Spec spec) throws MalformedFileException {
        TensorEntry entry = files.file(stored(spec)).entry(stored(spec).name());
        return entry.tensorType().orElseThrow();
    }

    /** What becomes of a linear. In a 4-bit checkpoint, what is stored in full was left out of the quantisation on purpose. */
    Form form(Layout.Spec linear) throws MalformedFileException {
        if (BitsAndBytesReader.has(files, linear)) {
            return Form.FOUR_BIT;
        }
        boolean kept = quantised || options.quantization() == LoadOptions.Quantization.NONE;
        return kept ? Form.DENSE : Form.TO_BE_QUANTISED;
    }

    /** Whether the scales of a linear that is kept in 4 bits are quantised themselves. */
    boolean nested(Layout.Spec linear) throws MalformedFileException {
        return form(linear) == Form.FOUR_BIT ? BitsAndBytesReader.nested(files, linear) : options.doubleQuant();
    }
}
