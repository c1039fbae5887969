package io.qlora.lora.cpu;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.cpu.DensePanels;
import io.qlora.engine.cpu.Left;
import io.qlora.engine.cpu.LowRankProduct;
import io.qlora.engine.cpu.LowRankProduct.Gradients;
import io.qlora.engine.cpu.MatMul;
import io.qlora.engine.cpu.PanelSource;
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

    private final LowRankProduct lowRank;
    private final MatMul product;
    private final BaseLinear base;

    CpuLoraLinear(CpuDevice device) {
        this.lowRank = new LowRankProduct(device.workers());
        this.product = new MatMul(device.workers());
        this.base = new BaseLinear(device);
    }

    @Override
    public void forward(Tensor x, Tensor dropped, Weight w, LowRank adapter, Tensor u, Tensor y) {
        PanelSource b = DensePanels.forward(adapter.b());
        if (x.length() <= RowProduct.ROWS) {
            base.forward(x, w, y);
            down(dropped, adapter, u);
            product.multiply(List.of(new Term(Left.of(u).scaled(adapter.scale()), b)), y, true);
            return;
        }
        try (PanelSource panels = WeightPanels.forward(w)) {
            if (dropped == x) {
                PanelSource a = DensePanels.forward(adapter.a());
                lowRank.forward(x, panels, a, adapter.scale(), u, b, y);
            } else {
                down(dropped, adapter, u);
                Term up = new Term(Left.of(u).scaled(adapter.scale()), b);
                product.multiply(List.of(new Term(Left.of(x), panels), up), y, false);
            }
        }
    }

    @Override
    public void down(Tensor dropped, LowRank adapter, Tensor u) {
        lowRank.down(dropped, DensePanels.forward(adapter.a()), u);
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
        PanelSource a = dDropped == null ? DensePanels.backward(adapter.a()) : null;
        PanelSource b = DensePanels.backward(adapter.b());
        Gradients gradients = new Gradients(u, db, dropped, da);
        try (PanelSource panels = WeightPanels.backward(w)) {
            lowRank.backward(dy, panels, b, adapter.scale(), v, a, dx, gradients);
        }
        if (dx != null && dDropped != null) {
            Term term = new Term(Left.of(v).scaled(adapter.scale()), DensePanels.backward(adapter.a()));
            product.multiply(List.of(term), dDropped, false);
        }
    }
}
