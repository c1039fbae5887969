package io.qlora.engine.safetensors;

import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.Arena;

/**
 * A tensor whose elements are the file itself, mapped: pages are read when they are touched. Closing it gives them back
 * at once; the tensor must not be used afterwards. A device with memory of its own is written from its segment.
 */
public final class MappedTensor implements AutoCloseable {

    private final Tensor tensor;
    private final Arena arena;

    MappedTensor(Tensor tensor, Arena arena) {
        this.tensor = tensor;
        this.arena = arena;
    }

    /** The tensor, read only; its memory is aligned to nothing. */
    public Tensor tensor() {
        return tensor;
    }

    @Override
    public void close() {
        arena.close();
    }
}
