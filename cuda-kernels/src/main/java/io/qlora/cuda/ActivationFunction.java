package io.qlora.cuda;

import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;

/** A kernel in two kinds: for activations in bfloat16, as in training, and in float32, as to compare with the CPU. */
public final class ActivationFunction {

    private final CudaFunction float32;
    private final CudaFunction bfloat16;

    /** The kernels {@code name_f32} and {@code name_bf16} of a unit. */
    public ActivationFunction(CudaDevice device, String unit, String name) {
        this.float32 = device.function(unit, name + "_f32");
        this.bfloat16 = device.function(unit, name + "_bf16");
    }

    /** The kernel for activations of this one's type. */
    public CudaFunction of(Tensor activation) {
        if (activation.dtype() == DType.F32) {
            return float32;
        }
        if (activation.dtype() == DType.BF16) {
            return bfloat16;
        }
        throw new IllegalArgumentException(float32 + ": an activation should be F32 or BF16, found " + activation);
    }
}
