package io.qlora.engine.cpu;

import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/**
 * The vectors all kernels use, and the functions on them that the Vector API leaves open. {@code reduceLanes(ADD)} and
 * {@code lanewise(EXP)} may give other bits compiled than interpreted, so that a result would depend on when the compiler
 * was done: those here are made of operations that are exact to the last bit everywhere.
 */
public final class Lanes {

    /** The widest float vectors of this machine. */
    public static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;

    /** Integer vectors of the same shape. */
    public static final VectorSpecies<Integer> INTS = FLOATS.vectorShape().withLanes(int.class);

    /** Floats in a vector: 4, 8 or 16. */
    public static final int WIDTH = FLOATS.length();

    /** Off-heap memory is in the machine's order, which on all supported machines is this. */
    public static final ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;

    private static final VectorShuffle<Float> FOLD8 = fold(8);
    private static final VectorShuffle<Float> FOLD4 = fold(4);
    private static final VectorShuffle<Float> FOLD2 = fold(2);
    private static final VectorShuffle<Float> FOLD1 = fold(1);

    // Of e^x; where a kernel writes it out, too.
    static final float LOG2E = 0x1.715476p0f;
    static final float LN2_HIGH = 0x1.63p-1f;
    static final float LN2_LOW = -0x1.bd0106p-13f;
    static final float ROUND = 0x1.8p23f; // added and taken away: rounds to the nearest integer
    static final float EXP7 = 1.9875691500e-4f;
    static final float EXP6 = 1.3981999507e-3f;
    static final float EXP5 = 8.3334519073e-3f;
    static final float EXP4 = 4.1665795894e-2f;
    static final float EXP3 = 1.6666665459e-1f;
    static final float EXP2 = 5.0000001201e-1f;
    static final float EXP_ZERO = -87.3f; // below, e^x is taken for 0

    private Lanes() {}

    private static VectorShuffle<Float> fold(int distance) {
        return VectorShuffle.fromOp(FLOATS, i -> (i + distance) % FLOATS.length());
    }

    /** The sum of the lanes, in an order that is always the same: halves are added until one lane is left. */
    public static float sum(FloatVector v) {
        FloatVector x = v;
        if (WIDTH >= 16) {
            x = x.add(x.rearrange(FOLD8));
        }
        if (WIDTH >= 8) {
            x = x.add(x.rearrange(FOLD4));
        }
        if (WIDTH >= 4) {
            x = x.add(x.rearrange(FOLD2));
        }
        return x.add(x.rearrange(FOLD1)).lane(0);
    }

    /** The largest lane; NaN if any lane is. */
    public static float max(FloatVector v) {
        return v.reduceLanes(VectorOperators.MAX);
    }

    /**
     * e^x to about one unit in the last place, for x from −87.3 to 88; saturated at e^88 above, 0 below, NaN for NaN.
     * Range reduction by multiples of ln 2 in two parts, then the polynomial of Cephes' {@code expf}.
     */
    public static FloatVector exp(FloatVector x) {
        FloatVector bounded = x.blend(88f, x.compare(VectorOperators.GT, 88f));
        FloatVector shifted = bounded.mul(LOG2E).add(ROUND); // the lowest bits are those of n
        FloatVector n = shifted.sub(ROUND);
        FloatVector r = n.fma(FloatVector.broadcast(FLOATS, -LN2_HIGH), bounded);
        r = n.fma(FloatVector.broadcast(FLOATS, -LN2_LOW), r);
        FloatVector p = FloatVector.broadcast(FLOATS, EXP7);
        p = p.fma(r, FloatVector.broadcast(FLOATS, EXP6));
        p = p.fma(r, FloatVector.broadcast(FLOATS, EXP5));
        p = p.fma(r, FloatVector.broadcast(FLOATS, EXP4));
        p = p.fma(r, FloatVector.broadcast(FLOATS, EXP3));
        p = p.fma(r, FloatVector.broadcast(FLOATS, EXP2));
        p = p.fma(r.mul(r), r).add(1f);
        FloatVector power = shifted.reinterpretAsInts()
                .add(127)
                .lanewise(VectorOperators.LSHL, 23)
                .reinterpretAsFloats();
        return p.mul(power).blend(0f, x.compare(VectorOperators.LT, EXP_ZERO));
    }
}
