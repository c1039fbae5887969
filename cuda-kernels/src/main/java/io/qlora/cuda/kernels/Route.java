package io.qlora.cuda.kernels;

import java.util.Locale;

/** A way to compute a matrix product. */
public enum Route {
    /** {@link FewRows}: a weight is read once, for a few rows, bound by memory. */
    FEW_ROWS,
    /** This project's tensor-core kernel, which rounds and decodes its operands as it reads them. */
    TILES,
    /** A weight in NF4 decoded to bfloat16 first, then {@link #TILES}. */
    DECODED,
    /** The operands decoded or rounded to bfloat16, then the vendor's library. */
    LIBRARY;

    /** As in tables and properties. */
    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }
}
