package io.qlora.engine.scalar;

import static io.qlora.engine.scalar.Floats.add;
import static io.qlora.engine.scalar.Floats.get;
import static io.qlora.engine.scalar.Floats.put;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.RmsNorm;
import io.qlora.engine.tensor.Tensor;

/** {@link RmsNorm} as its formula reads, sums in double. */
final class ScalarRmsNorm implements RmsNorm.Kernel {

    @Override
    public void forward(Tensor x, Tensor w, float eps, Tensor y, Tensor r) {
        int cols = x.cols();
        for (int t = 0; t < x.rows(); t++) {
            long row = (long) t * cols;
            double squares = 0;
            for (int c = 0; c < cols; c++) {
                squares += (double) get(x, row + c) * get(x, row + c);
            }
            float scale = (float) (1 / Math.sqrt(squares / cols + eps));
            put(r, t, scale);
            for (int c = 0; c < cols; c++) {
                put(y, row + c, get(x, row + c) * scale * get(w, c));
            }
        }
    }

    @Override
    public void backward(Tensor x, Tensor w, Tensor r, Tensor dy, Grad dx, Grad dw) {
        int cols = x.cols();
        for (int t = 0; t < x.rows() && dx != null; t++) {
            long row = (long) t * cols;
            double scale = get(r, t);
            double mean = 0;
            for (int c = 0; c < cols; c++) {
                mean += (double) get(x, row + c) * get(w, c) * get(dy, row + c) / cols;
            }
            for (int c = 0; c < cols; c++) {
                double d = (double) get(w, c) * get(dy, row + c) - get(x, row + c) * scale * scale * mean;
                add(dx, row + c, scale * d);
            }
        }
        for (int c = 0; c < cols && dw != null; c++) {
            double sum = 0;
            for (int t = 0; t < x.rows(); t++) {
                long i = (long) t * cols + c;
                sum += (double) get(dy, i) * get(x, i) * get(r, t);
            }
            add(dw, c, sum);
        }
    }
}
