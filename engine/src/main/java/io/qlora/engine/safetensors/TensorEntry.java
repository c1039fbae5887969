package io.qlora.engine.safetensors;

import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shape;
import java.util.Arrays;
import java.util.Optional;

/**
 * A tensor as a file's header describes it; checked, so that {@code offset} and {@code bytes} are within the file.
 *
 * @param name e.g. {@code model.layers.0.self_attn.q_proj.weight}
 * @param dtype as the file says it, e.g. {@code BF16}; possibly one that no {@link DType} stands for
 * @param shape the extents, outermost first; none for a scalar
 * @param offset where its elements start, in bytes from the start of the file; aligned to nothing
 * @param bytes how many they are
 */
public record TensorEntry(String name, String dtype, Shape shape, long offset, long bytes) {

    /** The type a tensor of it can have; empty for those that can only be listed ({@code I64}, {@code F8_E4M3}, …). */
    public Optional<DType> tensorType() {
        return Arrays.stream(DType.values()).filter(d -> d.name().equals(dtype)).findFirst();
    }

    /** As in error messages: {@code BF16 [2048, 8192]}. */
    @Override
    public String toString() {
        return dtype + " " + shape;
    }
}
