package io.qlora.engine.ops;

import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;

/**
 * Random numbers between −bound and bound, each a function of seed, stream and its place: the same on every device.
 *
 * <pre>
 *   word = word (j mod 4) of Philox at (j / 4, i / 2¹⁶, stream, DOMAIN), j = i mod 2¹⁶
 *   x[i] = floor(word / 2⁸) · 2⁻²³ · bound          word signed; rounded to float32, then to the type of x
 * </pre>
 *
 * The key is the seed's. Makes weights, and so has no gradient.
 */
public final class Uniform {

    /** Elements under one value of Philox's second counter. */
    public static final int PIECE = 1 << 16;

    /** Keeps its counters apart from all others under the same seed: "Unif". */
    public static final int DOMAIN = 0x556e6966;

    private Uniform() {}

    /** What a backend provides. Shapes: any; F32, F16 or BF16, but a card writes no F16. */
    public interface Kernel {
        void fill(Tensor x, float bound, Philox.Key key, int stream);
    }

    /**
     * Overwrites all elements.
     *
     * @param x floating-point, any shape
     * @param stream another number for each tensor under the same seed
     * @return {@code x}
     */
    public static Tensor fill(Tensor x, float bound, long seed, int stream) {
        Shapes.require(x.dtype().isFloat(), "Uniform", "x", x, "F32, F16 or BF16");
        x.device().kernel(Kernel.class).fill(x, bound, Philox.Key.of(seed), stream);
        return x;
    }
}
