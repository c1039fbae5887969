package io.qlora.lora.cpu;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.cpu.DensePanels;
import io.qlora.engine.cpu.Left;
import io.qlora.engine.cpu.MatMul;
import io.qlora.engine.cpu.RowProduct;
import io.qlora.engine.cpu.Term;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;
import io.qlora.lora.LoraLinear;
import io.qlora.lora.LoraLinear.LowRank;
import io.qlora.nf4.cpu.WeightPanels;
import java.util.List;

/**
 * {@link LoraLinear} by the matrix product, in which the adapter rides along: its input is packed once for W and A, and B
 * is one more term of W's sum. For a few rows the base's own product, row by row, and the adapter after it.
 */
final class CpuLoraLinear implements LoraLinear.Kernel {

    private final MatMul product;
    private final BaseLinear base;

    CpuLoraLinear(CpuDevice device) {
        this.product = new MatMul(device.workers());
        this.base = new BaseLinear(device);
    }

    @Override
    public void forward(Tensor x, Tensor dropped, Weight w, LowRank adapter, Tensor u, Tensor y) {
        boolean few = x.length() <= RowProduct.ROWS;
        if (dropped == x && !few) {
            product.multiplyLowRank(
                    x,
                    WeightPanels.forward(w),
                    DensePanels.forward(adapter.a()),
                    adapter.scale(),
                    u,
                    DensePanels.forward(adapter.b()),
                    y,
                    false);
            return;
        }
        product.multiply(List.of(new Term(Left.of(dropped), DensePanels.forward(adapter.a()))), u, false);
        Term up = new Term(Left.of(u).scaled(adapter.scale()), DensePanels.forward(adapter.b()));
        if (few) {
            base.forward(x, w, y);
            product.multiply(List.of(up), y, true);
        } else {
            product.multiply(List.of(new Term(Left.of(x), WeightPanels.forward(w)), up), y, false);
        }
    }

    @Override
    public void backward(
            Tensor dropped,
            Weight w,
            LowRank adapter,
            Tensor u,
            Tensor dy,
            Tensor v,
            Grad dx,
            Tensor dDropped,
            Grad da,
            Grad db) {
        float s = adapter.scale();
        if (dx != null && dDropped == null) {
            product.multiplyLowRank(
                    dy,
                    WeightPanels.backward(w),
                    DensePanels.backward(adapter.b()),
                    s,
                    v,
                    DensePanels.backward(adapter.a()),
                    dx.tensor(),
                    dx.accumulate());
        } else if (da != null || dx != null) {
            product.multiply(List.of(new Term(Left.of(dy), DensePanels.backward(adapter.b()))), v, false);
        }
        if (db != null) { // as (s · uᵀ · dy)ᵀ: R rows to pack instead of out
            Term term = new Term(Left.transposed(u).scaled(s), DensePanels.rows(dy));
            product.multiplyTransposed(List.of(term), db.tensor(), db.accumulate());
        }
        if (da != null) {
            Term term = new Term(Left.transposed(v).scaled(s), DensePanels.rows(dropped));
            product.multiply(List.of(term), da.tensor(), da.accumulate());
        }
        if (dx != null && dDropped != null) {
            base.backward(w, dy, dx);
            Term term = new Term(Left.of(v).scaled(s), DensePanels.backward(adapter.a()));
            product.multiply(List.of(term), dDropped, false);
        }
    }
}
