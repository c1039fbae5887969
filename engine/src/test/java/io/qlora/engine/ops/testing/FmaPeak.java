package io.qlora.engine.ops.testing;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * The most multiplications and additions that a core does: twelve sums in registers, independent of one another, nothing
 * read or written. What products are held against.
 */
public final class FmaPeak {

    /** The property that says how many bits a vector has, read once; default the widest. */
    public static final String BITS = "qlora.bench.bits";

    private static final VectorSpecies<Float> FLOATS = VectorShape.forBitSize(
                    Integer.getInteger(BITS, FloatVector.SPECIES_PREFERRED.vectorBitSize()))
            .withLanes(float.class);

    private static final int SUMS = 12; // twice as many as two units of a latency of four need, and a half

    private FmaPeak() {}

    /** The floating-point operations of {@code steps} steps. */
    public static double flops(int steps) {
        return 2.0 * SUMS * FLOATS.length() * steps;
    }

    /** Bits in the vectors that are measured. */
    public static int bits() {
        return FLOATS.vectorBitSize();
    }

    /** Does it; the result is there to be used, so that nothing is left out. */
    public static float run(int steps) {
        FloatVector a = FloatVector.broadcast(FLOATS, 0.75f);
        FloatVector b = FloatVector.broadcast(FLOATS, 0.5f);
        FloatVector s0 = FloatVector.broadcast(FLOATS, 0f);
        FloatVector s1 = FloatVector.broadcast(FLOATS, 1f);
        FloatVector s2 = FloatVector.broadcast(FLOATS, 2f);
        FloatVector s3 = FloatVector.broadcast(FLOATS, 3f);
        FloatVector s4 = FloatVector.broadcast(FLOATS, 4f);
        FloatVector s5 = FloatVector.broadcast(FLOATS, 5f);
        FloatVector s6 = FloatVector.broadcast(FLOATS, 6f);
        FloatVector s7 = FloatVector.broadcast(FLOATS, 7f);
        FloatVector s8 = FloatVector.broadcast(FLOATS, 8f);
        FloatVector s9 = FloatVector.broadcast(FLOATS, 9f);
        FloatVector s10 = FloatVector.broadcast(FLOATS, 10f);
        FloatVector s11 = FloatVector.broadcast(FLOATS, 11f);
        for (int i = 0; i < steps; i++) {
            s0 = a.fma(b, s0);
            s1 = a.fma(b, s1);
            s2 = a.fma(b, s2);
            s3 = a.fma(b, s3);
            s4 = a.fma(b, s4);
            s5 = a.fma(b, s5);
            s6 = a.fma(b, s6);
            s7 = a.fma(b, s7);
            s8 = a.fma(b, s8);
            s9 = a.fma(b, s9);
            s10 = a.fma(b, s10);
            s11 = a.fma(b, s11);
        }
        FloatVector even = s0.add(s2).add(s4).add(s6).add(s8).add(s10);
        FloatVector odd = s1.add(s3).add(s5).add(s7).add(s9).add(s11);
        return even.add(odd).lane(0);
    }
}
