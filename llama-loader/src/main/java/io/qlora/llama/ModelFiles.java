package io.qlora.llama;

import io.qlora.engine.safetensors.MalformedFileException;
import io.qlora.engine.safetensors.MappedTensor;
import io.qlora.engine.safetensors.SafetensorsFile;
import io.qlora.engine.safetensors.ShardedSafetensors;
import io.qlora.engine.safetensors.TensorEntry;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Device;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;

/** The tensors of a Hugging Face directory, each held against what the model needs before it is used. */
final class ModelFiles implements AutoCloseable {

    /** What to do about a model that was saved without its head. */
    static final String HEADLESS = "save the model from LlamaForCausalLM, not from LlamaModel";

    private static final String PREFIX = "model.";

    private final ShardedSafetensors tensors;
    private final List<String> names;

    private ModelFiles(ShardedSafetensors tensors) {
        this.tensors = tensors;
        this.names = tensors.entries().stream().map(TensorEntry::name).toList();
    }

    /** Opens the files and checks their headers, as {@link ShardedSafetensors#open}. */
    static ModelFiles open(Path directory) throws IOException {
        return new ModelFiles(ShardedSafetensors.open(directory));
    }

    Path directory() {
        return tensors.directory();
    }

    List<String> names() {
        return names;
    }

    boolean contains(String tensor) {
        return tensors.contains(tensor);
    }

    /**
     * The file a tensor is in.
     *
     * @param expected what it should be, for the message
     * @throws MalformedFileException if there is no such tensor
     */
    SafetensorsFile file(String tensor, Object expected) throws MalformedFileException {
        if (!contains(tensor)) {
            boolean headless = tensor.startsWith(PREFIX) && contains(tensor.substring(PREFIX.length()));
            throw new MalformedFileException(
                    directory(),
                    tensor + " is missing: expected " + expected
                            + (headless ? ", found " + tensor.substring(PREFIX.length()) + ": " + HEADLESS : ""));
        }
        return tensors.file(tensor);
    }

    /**
     * The file a tensor of the model is in.
     *
     * @throws MalformedFileException if there is no such tensor, or it has another shape or is not of floats
     */
    SafetensorsFile file(Layout.Spec spec) throws MalformedFileException {
        SafetensorsFile file = file(spec.name(), spec);
        TensorEntry entry = file.entry(spec.name());
        if (!entry.shape().equals(spec.shape())) {
            throw new MalformedFileException(
                    file.path(), spec.name() + ": expected " + spec + ", found " + entry.shape());
        }
        if (entry.tensorType().filter(DType::isFloat).isEmpty()) {
            throw new MalformedFileException(
                    file.path(), spec.name() + ": its type should be F32, F16 or BF16, found " + entry.dtype());
        }
        return file;
    }

    /** Maps a tensor of the model. */
    MappedTensor map(Layout.Spec spec, Device device) throws IOException {
        return file(spec).map(spec.name(), device);
    }

    /** A small tensor of the model, widened to float32. */
    float[] read(Layout.Spec spec) throws IOException {
        return file(spec).readFloats(spec.name());
    }

    @Override
    public void close() throws IOException {
        tensors.close();
    }
}
