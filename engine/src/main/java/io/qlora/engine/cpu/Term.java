package io.qlora.engine.cpu;

import io.qlora.engine.tensor.Shapes;

/**
 * One product of a sum of products, {@code left · right}.
 *
 * @param left {@code [rows, depth]}
 * @param right {@code [depth, width]}
 */
public record Term(Left left, PanelSource right) {

    public Term {
        Shapes.require(
                left.depth() == right.depth(), "MatMul", "depth of the left operand", left.depth(), "" + right.depth());
    }
}
