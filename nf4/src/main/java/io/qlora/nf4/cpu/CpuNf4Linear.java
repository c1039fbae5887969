package io.qlora.nf4.cpu;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.cpu.Left;
import io.qlora.engine.cpu.MatMul;
import io.qlora.engine.cpu.PanelSource;
import io.qlora.engine.cpu.Term;
import io.qlora.engine.cpu.Workers;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.nf4.Nf4Linear;
import java.util.List;

/** {@link Nf4Linear} in vectors: the matrix product over decoded panels, for a few rows the product row by row. */
final class CpuNf4Linear implements Nf4Linear.Kernel {

    private final Workers workers;
    private final MatMul matMul;

    CpuNf4Linear(Workers workers) {
        this.workers = workers;
        this.matMul = new MatMul(workers);
    }

    @Override
    public void forward(Tensor x, Nf4Weight w, Tensor y) {
        if (x.rows() <= Nf4RowProduct.MOST) {
            Nf4RowProduct.multiply(new Nf4Reader(w), x, y, workers);
        } else {
            try (PanelSource panels = Nf4Panels.forward(w)) {
                matMul.multiply(List.of(new Term(Left.of(x), panels)), y, false);
            }
        }
    }

    @Override
    public void backward(Nf4Weight w, Tensor dy, Grad dx) {
        try (PanelSource panels = Nf4Panels.backward(w)) {
            matMul.multiply(List.of(new Term(Left.of(dy), panels)), dx.tensor(), dx.accumulate());
        }
    }
}
