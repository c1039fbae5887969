package io.qlora.engine.tensor;

/**
 * A weight stored element by element. It is frozen unless {@code tensor} is a leaf of the tape, which only a float32
 * tensor can be.
 *
 * @param tensor {@code [out, in]}, F32, F16 or BF16
 */
public record DenseWeight(Tensor tensor) implements Weight {

    public DenseWeight {
        Shapes.require(
                tensor.shape().rank() == 2 && tensor.dtype().isFloat(),
                "DenseWeight",
                "tensor",
                tensor,
                "[out, in] of floats");
    }

    @Override
    public int out() {
        return tensor.rows();
    }

    @Override
    public int in() {
        return tensor.cols();
    }

    @Override
    public long byteSize() {
        return tensor.byteSize();
    }
}
