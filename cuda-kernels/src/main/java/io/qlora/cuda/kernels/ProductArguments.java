package io.qlora.cuda.kernels;

import io.qlora.cuda.Arguments;
import io.qlora.cuda.KernelArguments;
import io.qlora.cuda.kernels.CudaMatMul.Factor;
import io.qlora.cuda.kernels.CudaMatMul.Product;
import io.qlora.cuda.kernels.CudaMatMul.Term;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DeviceBuffer;
import io.qlora.engine.tensor.Nf4Weight;

/**
 * What the kernels of a product are given: {@code struct Product} of {@code product.cuh}.
 *
 * @param partials where the parts' sums go, 0 for one part
 * @param part elements of K in a part
 */
record ProductArguments(Product product, long partials, int part) implements KernelArguments {

    private static final int CHUNK = 8; // elements read at once
    private static final int ALIGNMENT = 16;

    /** How an operand gets into shared memory: {@code enum Way}. */
    enum Way {
        /** In bfloat16, past the registers. */
        COPIED,
        /** From NF4. */
        DECODED,
        /** All else, through registers. */
        ANY;

        static Way of(Factor factor) {
            if (factor.nf4() != null) {
                return wholeBlocks(factor) ? DECODED : ANY;
            }
            return factor.data().dtype() == DType.BF16 && wide(factor) ? COPIED : ANY;
        }
    }

    /** Of a product that is not cut into parts. */
    ProductArguments(Product product) {
        this(product, 0, product.depth(product.first()));
    }

    /** Whether a dense operand's lines are aligned and of whole chunks. */
    static boolean wide(Factor factor) {
        return factor.cols() % CHUNK == 0 && aligned(factor);
    }

    /** Whether the lines of a weight in NF4 are aligned and of whole blocks. */
    static boolean wholeBlocks(Factor factor) {
        return factor.cols() % Nf4Weight.BLOCK == 0 && aligned(factor);
    }

    private static boolean aligned(Factor factor) {
        return ((DeviceBuffer) factor.data().buffer()).address() % ALIGNMENT == 0;
    }

    @Override
    public void write(Arguments to) {
        Term first = product.first();
        Term second = product.second();
        to.pointer(first.a().data()).integer(first.a().type());
        to.pointer(first.b().data()).integer(first.b().type());
        Nf4Arguments.scales(to, first.b().nf4());
        to.integer(product.depth(first));
        if (second == null) {
            to.pointer(null).integer(0).pointer(null).integer(0).integer(0);
        } else {
            to.pointer(second.a().data()).integer(second.a().type());
            to.pointer(second.b().data()).integer(second.b().type());
            to.integer(product.depth(second));
        }
        to.real(product.scale()).real(product.scale2());
        to.pointer(product.c().tensor())
                .integer(product.c().tensor().dtype().ordinal())
                .integer(product.c().accumulate() ? 1 : 0);
        to.integer(product.rows()).integer(product.cols());
        to.pointer(partials).integer(part);
    }
}
