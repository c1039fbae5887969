package io.qlora.engine.tensor;

/**
 * The element types a {@link Tensor} can have. NF4 is deliberately not among them: packed 4-bit codes mean nothing
 * without their block scales, so they live in {@link Nf4Weight}, and only the op that understands them accepts them.
 */
public enum DType {
    /** IEEE 754 binary32. What the CPU computes in. */
    F32(4),
    /** IEEE 754 binary16. Storage only on the CPU: widened while it is read. */
    F16(2),
    /** The upper half of a binary32. Storage only on the CPU: widened while it is read. */
    BF16(2),
    /** Signed 32-bit integers: token ids, positions, document offsets. */
    I32(4),
    /** Unsigned bytes: packed codes. */
    U8(1);

    private final int bytes;

    DType(int bytes) {
        this.bytes = bytes;
    }

    /** Size of one element in bytes. */
    public int bytes() {
        return bytes;
    }

    /** Whether the elements are floating-point numbers. */
    public boolean isFloat() {
        return this == F32 || this == F16 || this == BF16;
    }
}
