package io.qlora.engine.scalar;

import static io.qlora.engine.scalar.Floats.add;
import static io.qlora.engine.scalar.Floats.get;
import static io.qlora.engine.scalar.Floats.index;
import static io.qlora.engine.scalar.Floats.put;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Embedding;
import io.qlora.engine.tensor.Tensor;

/** {@link Embedding} element by element. */
final class ScalarEmbedding implements Embedding.Kernel {

    @Override
    public void forward(Tensor ids, Tensor table, Tensor y) {
        int cols = table.cols();
        for (long t = 0; t < ids.size(); t++) {
            long row = index(ids, t, table.rows());
            for (int c = 0; c < cols; c++) {
                put(y, t * cols + c, get(table, row * cols + c));
            }
        }
    }

    @Override
    public void backward(Tensor ids, Tensor dy, Grad dtable) {
        int cols = dy.cols();
        if (!dtable.accumulate()) {
            dy.device().zero(dtable.tensor());
        }
        Grad sum = new Grad(dtable.tensor(), true);
        for (long t = 0; t < ids.size(); t++) {
            long row = index(ids, t, dtable.tensor().rows());
            for (int c = 0; c < cols; c++) {
                add(sum, row * cols + c, get(dy, t * cols + c));
            }
        }
    }
}
