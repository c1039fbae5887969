package io.qlora.llama;

import io.qlora.engine.files.AtomicFiles;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.safetensors.JsonFiles;
import io.qlora.engine.safetensors.SafetensorsWriter;
import io.qlora.engine.safetensors.ShardedSafetensors;
import io.qlora.engine.scalar.Floats;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;

/** Writes a dense model as a Hugging Face directory: {@code config.json} and one {@code model.safetensors}. */
final class ModelWriter implements AutoCloseable {

    private final SafetensorsWriter writer = new SafetensorsWriter().metadata("format", "pt");
    private final ModelMemory memory; // for tensors of another type
    private final DType dtype;

    private ModelWriter(ModelMemory memory, DType dtype) {
        this.memory = memory;
        this.dtype = dtype;
    }

    static void write(LlamaModel model, Path directory, DType dtype) throws IOException {
    }

    @Override
    public void close() {
        memory.close();
    }
}
