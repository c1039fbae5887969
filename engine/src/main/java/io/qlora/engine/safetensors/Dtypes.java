package io.qlora.engine.safetensors;

import io.qlora.engine.tensor.DType;
import java.util.List;
import java.util.Optional;

/**
 * The element types of the format, in the order of the reference implementation's enum, by which it lays out files: the
 * widest first. Source: {@code safetensors/src/tensor.rs} of huggingface/safetensors 0.8.
 */
enum Dtypes {
    BOOL(8),
    F4(4),
    F6_E2M3(6),
    F6_E3M2(6),
    U8(8),
    I8(8),
    F8_E5M2(8),
    F8_E4M3(8),
    F8_E8M0(8),
    F8_E4M3FNUZ(8),
    F8_E5M2FNUZ(8),
    I16(16),
    U16(16),
    F16(16),
    BF16(16),
    I32(32),
    U32(32),
    F32(32),
    C64(64),
    F64(64),
    I64(64),
    U64(64);

    /** Size of an element; the narrowest are packed. */
    final int bits;

    private static final List<Dtypes> ALL = List.of(values());

    Dtypes(int bits) {
        this.bits = bits;
    }

    /** The type of this name, if the format knows it. */
    static Optional<Dtypes> of(String name) {
        return ALL.stream().filter(d -> d.name().equals(name)).findFirst();
    }

    static Dtypes of(DType dtype) {
        return valueOf(dtype.name());
    }
}
