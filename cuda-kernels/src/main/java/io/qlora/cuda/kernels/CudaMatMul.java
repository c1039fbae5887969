package io.qlora.cuda.kernels;

import io.qlora.cuda.Arguments;
import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.CudaFunction;
import io.qlora.cuda.KernelArguments;
import io.qlora.cuda.driver.CudaDriver.Shape;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;
import java.util.EnumMap;
import java.util.Map;

/** The matrix product by {@code matmul.cu}: {@code C = scale · (A·B + scale2 · A2·B2)}, or added to C. */
final class CudaMatMul {

    private static final int NF4 = 5; // enum Type
    private static final int LARGE = 128; // rows and columns of a tile
    private static final int SMALL = 64;
    private static final int LARGE_THREADS = 256;
    private static final int SMALL_THREADS = 128;

    /** Which way the operands lie in memory. */
    enum Form {
        /** A [M, K], B [N, K]: x · Wᵀ. */
        NT,
        /** A [M, K], B [K, N]: dy · W. */
        NN,
        /** A [K, M], B [K, N]: dyᵀ · x. */
        TN
    }

    /** An operand: a tensor, or a weight's codes. {@code nf4} is null for a tensor. */
    record Factor(Tensor data, Nf4Weight nf4, int rows, int cols) {

        static Factor of(Tensor tensor) {
            return new Factor(tensor, null, tensor.length(), tensor.cols());
        }

        static Factor of(Weight weight) {
            return switch (weight) {
                case DenseWeight dense -> of(dense.tensor());
                case Nf4Weight nf4 -> new Factor(nf4.codes(), nf4, nf4.out(), nf4.in());
            };
        }

        private int type() {
            return nf4 == null ? data.dtype().ordinal() : NF4;
        }
    }

    /** A product of two operands. */
    record Term(Factor a, Factor b) {}

    private final CudaDevice device;
    private final Map<Form, CudaFunction> large = new EnumMap<>(Form.class);
    private final Map<Form, CudaFunction> small = new EnumMap<>(Form.class);

    CudaMatMul(CudaDevice device) {
        this.device = device;
        large.put(Form.NT, device.function("matmul", "matmul_nt_128"));
        large.put(Form.NN, device.function("matmul", "matmul_nn_128"));
        large.put(Form.TN, device.function("matmul", "matmul_tn_128"));
        small.put(Form.NT, device.function("matmul", "matmul_nt_64"));
        small.put(Form.NN, device.function("matmul", "matmul_nn_64"));
        small.put(Form.TN, device.function("matmul", "matmul_tn_64"));
    }

    /** struct Product. {@code second} is null for none. */
    private record Product(Form form, Term first, float scale, Term second, float scale2, Grad c)
            implements KernelArguments {

        int rows() {
            return form == Form.TN ? first.a.cols : first.a.rows;
        }

        int cols() {
            return form == Form.NT ? first.b.rows : first.b.cols;
        }

        private int depth(Term term) {
            return form == Form.TN ? term.a.rows : term.a.cols;
        }

        @Override
        public void write(Arguments to) {
            to.pointer(first.a.data).integer(first.a.type());
            to.pointer(first.b.data).integer(first.b.type());
            Nf4Arguments.scales(to, first.b.nf4);
            to.integer(depth(first));
            if (second == null) {
                to.pointer(null).integer(0).pointer(null).integer(0).integer(0);
            } else {
                to.pointer(second.a.data).integer(second.a.type());
                to.pointer(second.b.data).integer(second.b.type());
                to.integer(depth(second));
            }
            to.real(scale).real(scale2);
            to.pointer(c.tensor()).integer(c.tensor().dtype().ordinal()).integer(c.accumulate() ? 1 : 0);
            to.integer(rows()).integer(cols());
        }
    }

    /** {@code c = scale · a·b}, or added. */
    void multiply(Form form, Factor a, Factor b, float scale, Grad c) {
        launch(new Product(form, new Term(a, b), scale, null, 0, c));
    }

    /** {@code c = first + scale2 · second}, or added; {@code second} dense. */
    void multiply(Form form, Term first, Term second, float scale2, Grad c) {
        launch(new Product(form, first, 1, second, scale2, c));
    }

    private void launch(Product product) {
        // Large tiles read less, small ones leave fewer multiprocessors idle.
        long tiles = (long) Math.ceilDiv(product.rows(), LARGE) * Math.ceilDiv(product.cols(), LARGE);
        boolean many = product.rows() > SMALL && product.cols() > SMALL && tiles >= device.multiprocessors();
        int tile = many ? LARGE : SMALL;
        Shape shape = new Shape(
                Math.ceilDiv(product.rows(), tile),
                Math.ceilDiv(product.cols(), tile),
                1,
                many ? LARGE_THREADS : SMALL_THREADS,
                0);
        device.launch((many ? large : small).get(product.form), shape, product);
    }
}
