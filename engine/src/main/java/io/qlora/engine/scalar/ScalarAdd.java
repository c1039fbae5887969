package io.qlora.engine.scalar;

import static io.qlora.engine.scalar.Floats.get;
import static io.qlora.engine.scalar.Floats.put;

import io.qlora.engine.ops.Add;
import io.qlora.engine.tensor.Tensor;

/** {@link Add} element by element. */
final class ScalarAdd implements Add.Kernel {
    @Override
    public void forward(Tensor x, Tensor y, Tensor z) {
        for (long i = 0; i < z.size(); i++) {
            put(z, i, get(x, i) + get(y, i));
        }
    }
}
