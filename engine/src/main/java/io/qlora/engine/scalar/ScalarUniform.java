package io.qlora.engine.scalar;

import static io.qlora.engine.scalar.Floats.round;

import io.qlora.engine.ops.Philox;
import io.qlora.engine.ops.Uniform;
import io.qlora.engine.tensor.Tensor;

/** {@link Uniform} element by element. */
final class ScalarUniform implements Uniform.Kernel {

    @Override
    public void fill(Tensor x, float bound, Philox.Key key, int stream) {
        int[] words = new int[4];
        for (long i = 0; i < x.size(); i++) {
            int j = (int) (i % Uniform.PIECE);
            if (j % 4 == 0) {
                Philox.block(j / 4, (int) (i / Uniform.PIECE), stream, Uniform.DOMAIN, key, words);
            }
            round(x, i, ((words[j % 4] >> 8) * 0x1p-23f) * bound);
        }
    }
}
