package io.qlora.engine.scalar;

import static io.qlora.engine.scalar.Floats.add;
import static io.qlora.engine.scalar.Floats.get;
import static io.qlora.engine.scalar.Floats.index;
import static io.qlora.engine.scalar.Floats.put;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.LinearCrossEntropy;
import io.qlora.engine.tensor.Tensor;

/** {@link LinearCrossEntropy} as its formula reads, sums in double. */
final class ScalarLinearCrossEntropy implements LinearCrossEntropy.Kernel {

    @Override
    public void nll(Tensor logits, Tensor targets, float scale, boolean gradient, Tensor nll) {
        int cols = logits.cols();
        for (int n = 0; n < logits.rows(); n++) {
            long row = (long) n * cols;
            int target = index(targets, n, cols);
            double max = Double.NEGATIVE_INFINITY;
            for (int v = 0; v < cols; v++) {
                max = Math.max(max, get(logits, row + v));
            }
            double sum = 0;
            for (int v = 0; v < cols; v++) {
                sum += StrictMath.exp(get(logits, row + v) - max);
            }
            put(nll, n, StrictMath.log(sum) + max - get(logits, row + target));
            for (int v = 0; v < cols && gradient; v++) {
                double probability = StrictMath.exp(get(logits, row + v) - max) / sum;
                put(logits, row + v, scale * (probability - (v == target ? 1 : 0)));
            }
        }
    }

    @Override
    public void sum(Tensor nll, float scale, Tensor loss) {
        double sum = 0;
        for (long n = 0; n < nll.size(); n++) {
            sum += get(nll, n);
        }
        put(loss, 0, scale * sum);
    }

    @Override
    public void scatter(Tensor gathered, Tensor rows, Tensor dloss, Grad dx) {
        int cols = gathered.cols();
        if (!dx.accumulate()) {
            gathered.device().zero(dx.tensor());
        }
        Grad sum = new Grad(dx.tensor(), true);
        for (long n = 0; n < rows.size(); n++) {
            long row = index(rows, n, dx.tensor().rows());
            for (int c = 0; c < cols; c++) {
                add(sum, row * cols + c, (double) get(dloss, 0) * get(gathered, n * cols + c));
            }
        }
    }

    @Override
    public void scale(Tensor saved, Tensor dloss, Grad dhead) {
        for (long i = 0; i < saved.size(); i++) {
            add(dhead, i, (double) get(dloss, 0) * get(saved, i));
        }
    }
}
