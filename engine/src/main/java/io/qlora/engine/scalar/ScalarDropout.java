package io.qlora.engine.scalar;

import static io.qlora.engine.scalar.Floats.add;
import static io.qlora.engine.scalar.Floats.get;
import static io.qlora.engine.scalar.Floats.index;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Dropout;
import io.qlora.engine.ops.Philox;
import io.qlora.engine.tensor.Tensor;

/** {@link Dropout} four elements at a time, as Philox gives its words. */
final class ScalarDropout implements Dropout.Kernel {

    @Override
    public void forward(Tensor x, Dropout.Mask mask, Tensor documents, Tensor positions, Tensor y) {
        apply(x, mask, documents, positions, new Grad(y, false));
    }

    @Override
    public void backward(Tensor dy, Dropout.Mask mask, Tensor documents, Tensor positions, Grad dx) {
        apply(dy, mask, documents, positions, dx);
    }

    private static void apply(Tensor x, Dropout.Mask mask, Tensor documents, Tensor positions, Grad y) {
        Philox.Key key = mask.key();
        int[] words = new int[4];
        for (int t = 0; t < x.rows(); t++) {
            for (int c = 0; c < x.cols(); c++) {
                if (c % 4 == 0) {
                    Philox.block(c / 4, index(positions, t), index(documents, t), mask.site(), key, words);
                }
                long i = (long) t * x.cols() + c;
                boolean stays = Integer.compareUnsigned(words[c % 4], mask.threshold()) >= 0;
                add(y, i, stays ? get(x, i) * mask.scale() : 0);
            }
        }
    }
}
