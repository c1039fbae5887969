package io.qlora.engine.scalar;

import static io.qlora.engine.scalar.Floats.add;
import static io.qlora.engine.scalar.Floats.get;
import static io.qlora.engine.scalar.Floats.index;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Rope;
import io.qlora.engine.tensor.Tensor;

/** {@link Rope} pair by pair. */
final class ScalarRope implements Rope.Kernel {

    @Override
    public void forward(Tensor q, Tensor k, Rope.Table table, Tensor positions) {
        rotate(q, table, positions, 1, new Grad(q, false));
        rotate(k, table, positions, 1, new Grad(k, false));
    }

    @Override
    public void backward(Tensor dyq, Tensor dyk, Rope.Table table, Tensor positions, Grad dq, Grad dk) {
        if (dq != null) {
            rotate(dyq, table, positions, -1, dq);
        }
        if (dk != null) {
            rotate(dyk, table, positions, -1, dk);
        }
    }

    /** Rotates {@code x} forwards or, with {@code direction} −1, back. */
    private static void rotate(Tensor x, Rope.Table table, Tensor positions, int direction, Grad y) {
        int half = table.headSize() / 2;
        for (int t = 0; t < x.rows(); t++) {
            long angles = (long) index(positions, t) * half;
            for (int head = 0; head < x.cols(); head += 2 * half) {
                long first = (long) t * x.cols() + head;
                for (int j = 0; j < half; j++) {
                    double cos = get(table.cos(), angles + j);
                    double sin = direction * get(table.sin(), angles + j);
                    double x1 = get(x, first + j);
                    double x2 = get(x, first + half + j);
                    add(y, first + j, x1 * cos - x2 * sin);
                    add(y, first + half + j, x2 * cos + x1 * sin);
                }
            }
        }
    }
}
