package io.qlora.engine.autograd;

import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;

/**
 * A trainable tensor and the gradient that accumulates over the micro-batches of a step.
 *
 * @param name as in files, e.g. {@code model.layers.0.self_attn.q_proj.lora_A.weight}
 * @param value F32, any shape
 * @param gradient F32, of {@code value}'s shape; zero at the start of a step
 */
public record Parameter(String name, Tensor value, Tensor gradient) {

    public Parameter {
        Shapes.require(value.dtype() == DType.F32, "Parameter", name, value, "F32");
        Shapes.require(gradient, DType.F32, value.shape(), "Parameter", "gradient of " + name);
    }

    /** A parameter over {@code value}, its gradient zero and in {@code memory}. */
    public static Parameter of(String name, Tensor value, ModelMemory memory) {
        return new Parameter(name, value, memory.zeros(DType.F32, value.shape().dims()));
    }
}
