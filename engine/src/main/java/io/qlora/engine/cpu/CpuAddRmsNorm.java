package io.qlora.engine.cpu;

import io.qlora.engine.ops.AddRmsNorm;
import io.qlora.engine.tensor.Tensor;

/** {@link AddRmsNorm} some rows at a time: their sum is still in the cache when it is normalised. */
final class CpuAddRmsNorm implements AddRmsNorm.Kernel {

    private static final int CACHED_BYTES = 1 << 20; // of the sum, all cores together

    private final CpuAdd add;
    private final CpuRmsNorm norm;

    CpuAddRmsNorm(Workers workers) {
        this.add = new CpuAdd(workers);
        this.norm = new CpuRmsNorm(workers);
    }

    @Override
    public void forward(Tensor x, Tensor y, Tensor w, float eps, Tensor h, Tensor b, Tensor r) {
        long rows = Math.max(1, CACHED_BYTES / Math.max(1, 4L * x.cols()));
        for (long from = 0; from < x.rows(); from += rows) {
            long to = Math.min(x.rows(), from + rows);
            Tensor part = h.rows(from, to);
            add.forward(x.rows(from, to), y.rows(from, to), part);
            norm.forward(part, w, eps, b.rows(from, to), r.rows(from, to));
        }
    }
}
