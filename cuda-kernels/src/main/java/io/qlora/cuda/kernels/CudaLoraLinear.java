package io.qlora.cuda.kernels;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.kernels.CudaMatMul.Factor;
import io.qlora.cuda.kernels.CudaMatMul.Form;
import io.qlora.cuda.kernels.CudaMatMul.Term;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;
import io.qlora.lora.LoraLinear;

/** {@link LoraLinear} by {@link CudaMatMul}: the adapter rides along, R more terms of the base's sums. */
final class CudaLoraLinear implements LoraLinear.Kernel {

    private final CudaMatMul matMul;

    CudaLoraLinear(CudaDevice device) {
        this.matMul = CudaMatMul.of(device);
    }

    @Override
    public void forward(Tensor x, Tensor dropped, Weight w, LoraLinear.LowRank adapter, Tensor u, Tensor y) {
        down(dropped, adapter, u);
        Term base = new Term(Factor.of(x), Factor.of(w));
        Term low = new Term(Factor.of(u), Factor.of(adapter.b()));
        matMul.multiply(Form.NT, base, low, adapter.scale(), new Grad(y, false));
    }

    @Override
    public void down(Tensor dropped, LoraLinear.LowRank adapter, Tensor u) {
        matMul.multiply(Form.NT, Factor.of(dropped), Factor.of(adapter.a()), 1, new Grad(u, false));
    }

    @Override
    public void backward(
            Tensor dropped,
            Weight w,
            LoraLinear.LowRank adapter,
            Tensor u,
            Tensor dy,
            Tensor v,
            Grad dx,
            Tensor dDropped,
            Grad da,
            Grad db) {
        float scale = adapter.scale();
        if (da != null || dx != null) {
            matMul.multiply(Form.NN, Factor.of(dy), Factor.of(adapter.b()), 1, new Grad(v, false));
        }
        if (db != null) {
            matMul.multiply(Form.TN, Factor.of(dy), Factor.of(u), scale, db);
        }
        if (da != null) {
            matMul.multiply(Form.TN, Factor.of(v), Factor.of(dropped), scale, da);
        }
        if (dx != null && dDropped == null) {
            Term base = new Term(Factor.of(dy), Factor.of(w));
            Term low = new Term(Factor.of(v), Factor.of(adapter.a()));
            matMul.multiply(Form.NN, base, low, scale, dx);
        } else if (dx != null) {
            matMul.multiply(Form.NN, Factor.of(dy), Factor.of(w), 1, dx);
            matMul.multiply(Form.NN, Factor.of(v), Factor.of(adapter.a()), scale, new Grad(dDropped, false));
        }
    }
}
