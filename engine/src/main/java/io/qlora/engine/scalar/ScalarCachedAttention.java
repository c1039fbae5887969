package io.qlora.engine.scalar;

import io.qlora.engine.ops.CachedAttention;
import io.qlora.engine.tensor.Tensor;

/** {@link CachedAttention}, one query and head at a time. */
final class ScalarCachedAttention implements CachedAttention.Kernel {
    @Override
    public void forward(Tensor q, Tensor k, Tensor v, int past, int heads, int kvHeads, Tensor y) {
        double[] p = new double[past + q.rows()];
        for (int i = 0; i < q.rows(); i++) {
            for (int h = 0; h < heads; h++) {
                ScalarAttention.attend(q, i, k, v, 0, past + i + 1, h, heads, kvHeads, p, y);
            }
        }
    }
}
