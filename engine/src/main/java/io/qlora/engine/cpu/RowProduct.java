package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;

/**
 * {@code y = x · Wᵀ} for so few rows of x that the time is spent reading W: W is read once, as it lies, four of its rows at
 * a time. What generating a token is made of.
 */
public final class RowProduct {

    /** Rows of x from which on {@link MatMul} is faster, exclusive. */
    public static final int ROWS = 8;

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final int TASK_ROWS = 64; // of W
    private static final int GROUP = 4; // rows of W at a time, so that four sums are under way

    private final Workers workers;

    /** A product on these threads. */
    public RowProduct(Workers workers) {
        this.workers = workers;
    }

    /**
     * The product, an element's sum in an order that depends on shapes alone.
     *
     * @param x [M, in], F32
     * @param w [out, in], F32, F16 or BF16
     * @param y [M, out], F32
     */
    public void multiply(Tensor x, Tensor w, Tensor y) {
        int in = w.cols();
        int out = w.length();
        Shapes.matrix(x, DType.F32, -1, in, "RowProduct", "x");
        Shapes.matrix(y, DType.F32, x.length(), out, "RowProduct", "y");
        int rows = x.length();
        workers.run(Math.ceilDiv(out, TASK_ROWS), task -> {
            float[] sums = new float[GROUP];
            int end = Math.min(out, (task + 1) * TASK_ROWS);
            for (int n = task * TASK_ROWS; n < end; n += GROUP) {
                for (int m = 0; m < rows; m++) {
                    multiply(x, m, w, n, Math.min(GROUP, end - n), y, sums);
                }
            }
        });
    }

    /** Elements {@code n} to {@code n + count} of row {@code m} of y. */
    private static void multiply(Tensor x, int m, Tensor w, int n, int count, Tensor y, float[] sums) {
        MemorySegment xs = x.segment();
        MemorySegment ws = w.segment();
        MemorySegment ys = y.segment();
        int in = w.cols();
        int vectors = in / WIDTH * WIDTH;
        long xRow = (long) m * in;
        long row = (long) n * in;
        long stride = count == GROUP ? in : 0; // a rest is computed row by row, each of them four times at once
        int step = count == GROUP ? GROUP : 1;
        for (int i = 0; i < count; i += step) {
            switch (w.dtype()) {
                case F32 -> f32(xs, 4 * xRow, ws, 4 * (row + (long) i * in), 4 * stride, vectors, sums);
                case F16 -> f16(xs, 4 * xRow, ws, 2 * (row + (long) i * in), 2 * stride, vectors, sums);
                case BF16 -> bf16(xs, 4 * xRow, ws, 2 * (row + (long) i * in), 2 * stride, vectors, sums);
                case I32, U8 -> throw new IllegalArgumentException(w + " is not floating-point");
            }
            for (int j = 0; j < step; j++) {
                float sum = sums[j];
                for (int k = vectors; k < in; k++) {
                    sum = Math.fma(xs.getAtIndex(FLOAT, xRow + k), Widen.get(w.dtype(), ws, row + (long) (i + j) * in + k), sum);
                }
                ys.setAtIndex(FLOAT, (long) m * y.cols() + n + i + j, sum);
            }
        }
    }

    private static void f32(
            MemorySegment x, long xRow, MemorySegment w, long row, long stride, int count, float[] sums) {
        FloatVector sum0 = FloatVector.zero(FLOATS);
        FloatVector sum1 = sum0;
        FloatVector sum2 = sum0;
        FloatVector sum3 = sum0;
        for (int k = 0; k < count; k += WIDTH) {
            FloatVector v = Widen.f32(x, xRow + 4L * k);
            long o = row + 4L * k;
            sum0 = Widen.f32(w, o).fma(v, sum0);
            sum1 = Widen.f32(w, o + stride).fma(v, sum1);
            sum2 = Widen.f32(w, o + 2 * stride).fma(v, sum2);
            sum3 = Widen.f32(w, o + 3 * stride).fma(v, sum3);
        }
        store(sum0, sum1, sum2, sum3, sums);
    }

    private static void f16(
            MemorySegment x, long xRow, MemorySegment w, long row, long stride, int count, float[] sums) {
        FloatVector sum0 = FloatVector.zero(FLOATS);
        FloatVector sum1 = sum0;
        FloatVector sum2 = sum0;
        FloatVector sum3 = sum0;
        for (int k = 0; k < count; k += WIDTH) {
            FloatVector v = Widen.f32(x, xRow + 4L * k);
            long o = row + 2L * k;
            sum0 = Widen.f16(w, o).fma(v, sum0);
            sum1 = Widen.f16(w, o + stride).fma(v, sum1);
            sum2 = Widen.f16(w, o + 2 * stride).fma(v, sum2);
            sum3 = Widen.f16(w, o + 3 * stride).fma(v, sum3);
        }
        store(sum0, sum1, sum2, sum3, sums);
    }

    private static void bf16(
            MemorySegment x, long xRow, MemorySegment w, long row, long stride, int count, float[] sums) {
        FloatVector sum0 = FloatVector.zero(FLOATS);
        FloatVector sum1 = sum0;
        FloatVector sum2 = sum0;
        FloatVector sum3 = sum0;
        for (int k = 0; k < count; k += WIDTH) {
            FloatVector v = Widen.f32(x, xRow + 4L * k);
            long o = row + 2L * k;
            sum0 = Widen.bf16(w, o).fma(v, sum0);
            sum1 = Widen.bf16(w, o + stride).fma(v, sum1);
            sum2 = Widen.bf16(w, o + 2 * stride).fma(v, sum2);
            sum3 = Widen.bf16(w, o + 3 * stride).fma(v, sum3);
        }
        store(sum0, sum1, sum2, sum3, sums);
    }

    private static void store(FloatVector sum0, FloatVector sum1, FloatVector sum2, FloatVector sum3, float[] sums) {
        sums[0] = Lanes.sum(sum0);
        sums[1] = Lanes.sum(sum1);
        sums[2] = Lanes.sum(sum2);
        sums[3] = Lanes.sum(sum3);
    }
}
