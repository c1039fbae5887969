package io.qlora.engine.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.scalar.Floats;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;

/** Random matrices, and what their product should be. */
final class Matrices {

    private final ModelMemory memory;
    private final SplittableRandom random = new SplittableRandom(1);

    Matrices(ModelMemory memory) {
        this.memory = memory;
    }

    /** A matrix of {@code rows} rows as the product sees it, stored as it is or transposed. */
    record Matrix(Tensor tensor, int rows, int cols, boolean transposed, float scale) {

        double get(int row, int col) {
            return (double) scale * Floats.get(tensor, index(row, col));
        }

        void set(int row, int col, float value) {
            Floats.put(tensor, index(row, col), value);
        }

        private long index(int row, int col) {
            return transposed ? (long) col * rows + row : (long) row * cols + col;
        }

        Left left() {
            return (transposed ? Left.transposed(tensor) : Left.of(tensor)).scaled(scale);
        }

        PanelSource right() {
            return transposed ? DensePanels.forward(tensor) : DensePanels.backward(tensor);
        }
    }

    Matrix left(int rows, int cols, boolean transposed, float scale) {
        return new Matrix(transposed ? random(cols, rows) : random(rows, cols), rows, cols, transposed, scale);
    }

    Matrix right(int rows, int cols, boolean transposed, DType dtype) {
        Tensor wide = transposed ? random(cols, rows) : random(rows, cols);
        return new Matrix(dtype == DType.F32 ? wide : narrow(wide, dtype), rows, cols, transposed, 1);
    }

    /** Uniform numbers from -1 to 1. */
    Tensor random(int rows, int cols) {
        Tensor tensor = memory.empty(DType.F32, rows, cols);
        for (long i = 0; i < tensor.size(); i++) {
            Floats.put(tensor, i, random.nextDouble(-1, 1));
        }
        return tensor;
    }

    private Tensor narrow(Tensor wide, DType dtype) {
        Tensor tensor = memory.empty(dtype, wide.shape().dims());
        for (long i = 0; i < tensor.size(); i++) {
            float value = wide.get(i);
            short bits =
                    dtype == DType.F16 ? Float.floatToFloat16(value) : (short) (Float.floatToRawIntBits(value) >>> 16);
            tensor.segment().setAtIndex(ValueLayout.JAVA_SHORT_UNALIGNED, i, bits);
        }
        return tensor;
    }

    /** Sums in double, and the sums of magnitudes that bound the error of any other way to compute them. */
    record Expected(double[] sums, double[] magnitudes, int length) {

        /** Float32 sums of blocks, or groups of them, each added to the last: at most that many roundings an element. */
        void check(float[] found) {
            double roundings = Math.min(length, MicroKernel.STRIDE) + Math.ceilDiv(length, MatMul.KC) + 3;
            for (int i = 0; i < sums.length; i++) {
                assertEquals(sums[i], found[i], roundings * 0x1p-24 * magnitudes[i], "element " + i);
            }
        }
    }

    /** {@code before}, if it counts, plus the products of {@code pairs}: left, right, left, right. */
    static Expected expected(float[] before, boolean accumulate, Matrix... pairs) {
        int m = pairs[0].rows();
        int n = pairs[1].cols();
        int length = 0;
        double[] sums = new double[m * n];
        double[] magnitudes = new double[m * n];
        for (int i = 0; i < m * n && accumulate; i++) {
            sums[i] = before[i];
            magnitudes[i] = Math.abs(before[i]);
        }
        for (int p = 0; p < pairs.length; p += 2) {
            Matrix left = pairs[p];
            Matrix right = pairs[p + 1];
            length += left.cols();
            for (int i = 0; i < m * n; i++) {
                for (int k = 0; k < left.cols(); k++) {
                    double term = left.get(i / n, k) * right.get(k, i % n);
                    sums[i] += term;
                    magnitudes[i] += Math.abs(term);
                }
            }
        }
        return new Expected(sums, magnitudes, length);
    }
}
