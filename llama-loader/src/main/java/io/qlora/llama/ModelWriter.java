package io.qlora.llama;

import io.qlora.engine.files.AtomicFiles;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.safetensors.JsonFiles;
import io.qlora.engine.safetensors.SafetensorsWriter;
import io.qlora.engine.safetensors.ShardedSafetensors;
import io.qlora.engine.scalar.Floats;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Map;

/** Writes a dense model as a Hugging Face directory: {@code config.json} and one {@code model.safetensors}. */
final class ModelWriter implements AutoCloseable {

    private final DType dtype;
    private ModelMemory rounded; // holds the tensor that is being written, or null

    private ModelWriter(DType dtype) {
        this.dtype = dtype;
    }

    /**
     * Writes it.
     *
     * @param tied whether the head is the embedding, and so is not among {@code weights}
     * @param weights F32, by name
     * @param dtype F32 or BF16
     */
    static void write(LlamaConfig config, boolean tied, Map<String, Tensor> weights, Path directory, DType dtype)
            throws IOException {
        if (dtype != DType.F32 && dtype != DType.BF16) {
            throw new IllegalArgumentException("a model is written as F32 or BF16, found " + dtype);
        }
        SafetensorsWriter file = new SafetensorsWriter().metadata("format", "pt");
        try (ModelWriter writer = new ModelWriter(dtype)) {
            weights.forEach((name, weight) -> file.add(name, dtype, weight.shape(), () -> writer.convert(weight)));
            AtomicFiles.writeDirectory(directory, staging -> {
                JsonFiles.write(staging.resolve(ConfigReader.FILE), ConfigWriter.json(config, tied, dtype));
                file.write(staging.resolve(ShardedSafetensors.SINGLE));
            });
        }
    }

    private Tensor convert(Tensor weight) {
        close();
        if (dtype == DType.F32) {
            return weight;
        }
        float[] values = weight.toFloats();
        short[] bits = new short[values.length];
        for (int i = 0; i < bits.length; i++) {
            bits[i] = Floats.bfloat16(values[i]);
        }
        rounded = new ModelMemory(weight.device());
        Tensor tensor = rounded.empty(dtype, weight.shape().dims());
        weight.device().write(MemorySegment.ofArray(bits), tensor);
        return tensor;
    }

    @Override
    public void close() {
        if (rounded != null) {
            rounded.close();
            rounded = null;
        }
    }
}
