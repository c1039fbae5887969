package io.qlora.engine.scalar;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.ValueLayout;

/** Elements of host tensors, one by one, for kernels that are read rather than fast. */
public final class Floats {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;
    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED;

    private Floats() {}

    /** Element {@code i} of a floating-point tensor, widened to float32. */
    public static float get(Tensor tensor, long i) {
        return switch (tensor.dtype()) {
            case F32 -> tensor.segment().getAtIndex(FLOAT, i);
            case F16 -> Float.float16ToFloat(tensor.segment().getAtIndex(SHORT, i));
            case BF16 -> Float.intBitsToFloat(tensor.segment().getAtIndex(SHORT, i) << 16);
            case I32, U8 -> throw new IllegalArgumentException(tensor + " is not floating-point");
        };
    }

    /** Element {@code i} of an int32 tensor. */
    public static int index(Tensor tensor, long i) {
        return tensor.segment().getAtIndex(INT, i);
    }

    /**
     * Element {@code i} of an int32 tensor, which should be an index into something of length {@code bound}.
     *
     * @throws IndexOutOfBoundsException if it is not
     */
    public static int index(Tensor tensor, long i, int bound) {
        int index = index(tensor, i);
        if (index < 0 || index >= bound) {
            throw new IndexOutOfBoundsException("element " + i + " of " + tensor + " should be an index from 0 to "
                    + (bound - 1) + ", found " + index);
        }
        return index;
    }

    /** Sets element {@code i} of a float32 tensor. */
    public static void put(Tensor tensor, long i, double value) {
        tensor.segment().setAtIndex(FLOAT, i, (float) value);
    }

    /** Sets element {@code i} of a floating-point tensor, rounded to nearest, ties to even. */
    public static void round(Tensor tensor, long i, float value) {
        switch (tensor.dtype()) {
            case F32 -> tensor.segment().setAtIndex(FLOAT, i, value);
            case F16 -> tensor.segment().setAtIndex(SHORT, i, Float.floatToFloat16(value));
            case BF16 -> tensor.segment().setAtIndex(SHORT, i, bfloat16(value));
            case I32, U8 -> throw new IllegalArgumentException(tensor + " is not floating-point");
        }
    }

    /** The bfloat16 nearest to a number, of two the even one; a NaN is one still. */
    public static short bfloat16(float value) {
        int bits = Float.floatToRawIntBits(value);
        int odd = (bits >>> 16) & 1;
        return (short) (Float.isNaN(value) ? bits >>> 16 | 0x40 : (bits + 0x7fff + odd) >>> 16);
    }

    /** Sets element {@code i} of a gradient, or adds to it. */
    public static void add(Grad grad, long i, double value) {
        put(grad.tensor(), i, grad.accumulate() ? get(grad.tensor(), i) + value : value);
    }
}
