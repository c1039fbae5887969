package io.qlora.engine.cpu;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Linear;
import io.qlora.engine.tensor.Tensor;
import java.util.List;

/** {@link Linear} by the matrix product; a few rows row by row, where packing the weight would cost more than the product. */
final class CpuLinear implements Linear.Kernel {

    private final MatMul product;
    private final RowProduct rowProduct;

    CpuLinear(Workers workers) {
        this.product = new MatMul(workers);
        this.rowProduct = new RowProduct(workers);
    }

    @Override
    public void forward(Tensor x, Tensor w, Tensor y) {
        if (x.rows() <= RowProduct.ROWS) {
            rowProduct.multiply(x, w, y);
        } else {
            product.multiply(List.of(new Term(Left.of(x), DensePanels.forward(w))), y, false);
        }
    }

    @Override
    public void backward(Tensor x, Tensor w, Tensor dy, Grad dx, Grad dw) {
        if (dx != null) {
            Term term = new Term(Left.of(dy), DensePanels.backward(w));
            product.multiply(List.of(term), dx.tensor(), dx.accumulate());
        }
        if (dw != null) {
            Term term = new Term(Left.transposed(dy), DensePanels.rows(x));
            product.multiply(List.of(term), dw.tensor(), dw.accumulate());
        }
    }
}
