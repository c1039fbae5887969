package io.qlora.engine.cpu;

import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;

/**
 * A left-hand operand of {@link MatMul}, {@code scale · X} or {@code scale · Xᵀ}.
 *
 * @param tensor X, F32 on the host: {@code [rows, depth]}, or {@code [depth, rows]} when transposed
 * @param transposed whether Xᵀ is meant
 * @param scale what X is multiplied by while it is packed
 */
public record Left(Tensor tensor, boolean transposed, float scale) {

    public Left {
        Shapes.matrix(tensor, DType.F32, -1, -1, "MatMul", "left operand");
    }

    /** X itself. */
    public static Left of(Tensor tensor) {
        return new Left(tensor, false, 1);
    }

    /** Xᵀ, of an X {@code [depth, rows]}. */
    public static Left transposed(Tensor tensor) {
        return new Left(tensor, true, 1);
    }

    /** This operand, times {@code factor}. */
    public Left scaled(float factor) {
        return new Left(tensor, transposed, scale * factor);
    }

    /** Number of rows of the product. */
    public int rows() {
        return transposed ? tensor.cols() : tensor.length();
    }

    /** Length of the sum. */
    public int depth() {
        return transposed ? tensor.length() : tensor.cols();
    }
}
