package io.qlora.bench;

import static org.bytedeco.openblas.global.openblas.CblasNoTrans;
import static org.bytedeco.openblas.global.openblas.CblasRowMajor;
import static org.bytedeco.openblas.global.openblas.CblasTrans;
import static org.bytedeco.openblas.global.openblas.blas_set_num_threads;
import static org.bytedeco.openblas.global.openblas.cblas_sgemm;
import static org.bytedeco.openblas.global.openblas.cblas_sgemv;

import io.qlora.engine.tensor.Tensor;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;

/** The peer of the dense product: OpenBLAS over the same memory, with the same number of threads. */
final class OpenBlas {

    private OpenBlas() {}

    /** {@code y = x · Wᵀ}, ready to be run; of one row, as a matrix by a vector. */
    static Runnable forward(Tensor x, Tensor w, Tensor y, int threads) {
        blas_set_num_threads(threads);
        int m = x.rows();
        int in = w.cols();
        int out = w.rows();
        FloatBuffer xs = floats(x);
        FloatBuffer ws = floats(w);
        FloatBuffer ys = floats(y);
        if (m == 1) {
            return () -> cblas_sgemv(CblasRowMajor, CblasNoTrans, out, in, 1, ws, in, xs, 1, 0, ys, 1);
        }
        return () -> cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, m, out, in, 1, xs, in, ws, in, 0, ys, out);
    }

    /** {@code dx = dy · W}, ready to be run. */
    static Runnable backward(Tensor dy, Tensor w, Tensor dx, int threads) {
        blas_set_num_threads(threads);
        int m = dy.rows();
        int in = w.cols();
        int out = w.rows();
        FloatBuffer dys = floats(dy);
        FloatBuffer ws = floats(w);
        FloatBuffer dxs = floats(dx);
        return () ->
                cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, in, out, 1, dys, out, ws, in, 0, dxs, in);
    }

    private static FloatBuffer floats(Tensor tensor) {
        return tensor.segment().asByteBuffer().order(ByteOrder.nativeOrder()).asFloatBuffer();
    }
}
