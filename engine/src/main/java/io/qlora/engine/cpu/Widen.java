package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.INTS;
import static io.qlora.engine.cpu.Lanes.ORDER;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import io.qlora.engine.tensor.DType;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/** Reads floating-point elements of any width from native memory as float32. All of it is exact. */
public final class Widen {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED;
    private static final VectorSpecies<Short> SHORTS =
            VectorShape.forBitSize(FLOATS.vectorBitSize() / 2).withLanes(short.class);

    private Widen() {}

    /** Copies {@code count} elements from element {@code index} on to {@code out}. */
    public static void copy(DType dtype, MemorySegment x, long index, int count, float[] out, int start) {
        switch (dtype) {
            case F32 -> copyF32(x, 4 * index, count, out, start);
            case F16 -> copyF16(x, 2 * index, count, out, start);
            case BF16 -> copyBf16(x, 2 * index, count, out, start);
            case I32, U8 -> throw new IllegalArgumentException(dtype + " is not floating-point");
        }
    }

    private static void copyF32(MemorySegment x, long offset, int count, float[] out, int start) {
        int i = 0;
        for (; i <= count - WIDTH; i += WIDTH) {
            f32(x, offset + 4L * i).intoArray(out, start + i);
        }
        for (; i < count; i++) {
            out[start + i] = x.get(FLOAT, offset + 4L * i);
        }
    }

    /** The compiler makes vectors of this by itself. */
    private static void copyF16(MemorySegment x, long offset, int count, float[] out, int start) {
        for (int i = 0; i < count; i++) {
            out[start + i] = Float.float16ToFloat(x.get(SHORT, offset + 2L * i));
        }
    }

    private static void copyBf16(MemorySegment x, long offset, int count, float[] out, int start) {
        int i = 0;
        for (; i <= count - WIDTH; i += WIDTH) {
            bf16(x, offset + 2L * i).intoArray(out, start + i);
        }
        for (; i < count; i++) {
            out[start + i] = Float.intBitsToFloat(x.get(SHORT, offset + 2L * i) << 16);
        }
    }

    /**
     * Copies pairs of vectors, one from each of {@code count} rows.
     *
     * @param index of the first element
     * @param stride elements from row to row
     */
    static void pairs(DType dtype, MemorySegment x, long index, long stride, int count, float[] out) {
        switch (dtype) {
            case F32 -> pairsF32(x, 4 * index, 4 * stride, count, out);
            case F16 -> pairsF16(x, 2 * index, 2 * stride, count, out);
            case BF16 -> pairsBf16(x, 2 * index, 2 * stride, count, out);
            case I32, U8 -> throw new IllegalArgumentException(dtype + " is not floating-point");
        }
    }

    private static void pairsF32(MemorySegment x, long offset, long stride, int count, float[] out) {
        for (int i = 0; i < count; i++) {
            long o = offset + i * stride;
            f32(x, o).intoArray(out, 2 * i * WIDTH);
            f32(x, o + 4L * WIDTH).intoArray(out, (2 * i + 1) * WIDTH);
        }
    }

    private static void pairsF16(MemorySegment x, long offset, long stride, int count, float[] out) {
        for (int i = 0; i < count; i++) {
            copyF16(x, offset + i * stride, 2 * WIDTH, out, 2 * i * WIDTH);
        }
    }

    private static void pairsBf16(MemorySegment x, long offset, long stride, int count, float[] out) {
        for (int i = 0; i < count; i++) {
            long o = offset + i * stride;
            bf16(x, o).intoArray(out, 2 * i * WIDTH);
            bf16(x, o + 2L * WIDTH).intoArray(out, (2 * i + 1) * WIDTH);
        }
    }

    /** A vector of binary32 at this byte offset. */
    static FloatVector f32(MemorySegment x, long offset) {
        return FloatVector.fromMemorySegment(FLOATS, x, offset, ORDER);
    }

    /** A vector of bfloat16 at this byte offset. */
    static FloatVector bf16(MemorySegment x, long offset) {
        ShortVector shorts = ShortVector.fromMemorySegment(SHORTS, x, offset, ORDER);
        IntVector bits = (IntVector) shorts.convertShape(VectorOperators.ZERO_EXTEND_S2I, INTS, 0);
        return bits.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
    }
}
