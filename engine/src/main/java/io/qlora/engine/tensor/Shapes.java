package io.qlora.engine.tensor;

/** Checks at the door of an op: what was expected, what was found, in one sentence. */
public final class Shapes {

    private Shapes() {}

    /**
     * Requires that {@code condition} holds of operand {@code name} of {@code op}.
     *
     * @throws IllegalArgumentException naming op, operand, expectation and finding
     */
    public static void require(boolean condition, String op, String name, Object found, String expected) {
        if (!condition) {
            throw new IllegalArgumentException(op + ": " + name + " should be " + expected + ", found " + found);
        }
    }

    /** Requires {@code tensor} to have exactly this type and shape. */
    public static void require(Tensor tensor, DType dtype, Shape shape, String op, String name) {
        if (tensor.dtype() != dtype || !tensor.shape().equals(shape)) {
            throw new IllegalArgumentException(
                    op + ": " + name + " should be " + dtype + " " + shape + ", found " + tensor);
        }
    }

    /** Requires {@code tensor} to be a matrix {@code [rows, cols]} of this type; a negative extent allows any. */
    public static void matrix(Tensor tensor, DType dtype, long rows, long cols, String op, String name) {
        boolean fits = tensor.dtype() == dtype
                && tensor.shape().rank() == 2
                && (rows < 0 || tensor.shape().dim(0) == rows)
                && (cols < 0 || tensor.shape().dim(1) == cols);
        if (!fits) {
            String expected = dtype + " [" + (rows < 0 ? "*" : rows) + ", " + (cols < 0 ? "*" : cols) + "]";
            throw new IllegalArgumentException(op + ": " + name + " should be " + expected + ", found " + tensor);
        }
    }

    /**
     * Requires {@code x} to be a matrix {@code [rows, cols]} of activations: float32, or what its device keeps them in; a
     * negative extent allows any.
     */
    public static void activation(Tensor x, long rows, long cols, String op, String name) {
        DType kept = x.device().activations();
        if (x.dtype() != DType.F32 && x.dtype() != kept) {
            String expected = kept == DType.F32 ? "F32" : "F32 or " + kept;
            throw new IllegalArgumentException(op + ": " + name + " should be " + expected + ", in which "
                    + x.device().name() + " computes, found " + x);
        }
        matrix(x, x.dtype(), rows, cols, op, name);
    }
}
