package io.qlora.cuda.blas;

import io.qlora.engine.tensor.DType;

/**
 * A dense product of bfloat16 matrices, {@code C = alpha · A · B} or that added to C, summed in float32. All lie row by row
 * without gaps. What the libraries take lies column by column: a row-major [M, N] is their [N, M], so they are asked for
 * {@code Cᵀ = Bᵀ · Aᵀ}, the operands in the other order.
 *
 * @param m rows of C
 * @param n columns of C
 * @param k common extent of the operands
 * @param transposeA whether A lies as [K, M] instead of [M, K]
 * @param transposeB whether B lies as [N, K] instead of [K, N]
 * @param a address of A, bfloat16
 * @param b address of B, bfloat16
 * @param c address of C
 * @param type of C: F32 or BF16
 * @param accumulate whether to add to what is there
 */
public record Gemm(
        int m,
        int n,
        int k,
        boolean transposeA,
        boolean transposeB,
        float alpha,
        long a,
        long b,
        long c,
        DType type,
        boolean accumulate) {

    /** Length of A's rows: the library's leading dimension. */
    int rowA() {
        return transposeA ? m : k;
    }

    /** Length of B's rows. */
    int rowB() {
        return transposeB ? k : n;
    }

    float beta() {
        return accumulate ? 1 : 0;
    }

    /** For messages. */
    Object[] arguments() {
        return new Object[] {
            "M", m, "N", n, "K", k, "A", transposeA ? "[K, M]" : "[M, K]", "B", transposeB ? "[N, K]" : "[K, N]"
        };
    }
}
