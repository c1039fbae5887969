package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.ORDER;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;

/**
 * {@code y = x · Wᵀ} for so few rows of x that the time is spent reading W: W is read once, four of its rows at a time, and
 * not packed; in float32 and bfloat16, not even copied. What generating a token is made of.
 */
public final class RowProduct {

    /** The most rows of x for which this is faster than {@link MatMul}. */
    public static final int ROWS = 8;

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED;
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
        DType dtype = w.dtype();
        MemorySegment xs = x.segment();
        MemorySegment ws = w.segment();
        MemorySegment ys = y.segment();
        int rows = x.length();
        workers.run(Math.ceilDiv(out, TASK_ROWS), task -> {
            float[] group = PanelScratch.ofThread().floats(GROUP * in + GROUP);
            int end = Math.min(out, (task + 1) * TASK_ROWS);
            int n = task * TASK_ROWS;
            for (; n <= end - GROUP && dtype != DType.F16; n += GROUP) {
                for (int m = 0; m < rows; m++) {
                    long row = dtype.bytes() * (long) n * in;
                    long output = 4 * ((long) m * out + n);
                    if (dtype == DType.F32) {
                        dots(xs, 4L * m * in, ws, row, in, ys, output);
                    } else {
                        dotsBf16(xs, 4L * m * in, ws, row, in, ys, output);
                    }
                }
            }
            for (; n < end; n += GROUP) {
                int count = Math.min(GROUP, end - n);
                for (int r = 0; r < count; r++) {
                    Widen.copy(dtype, ws, (long) (n + r) * in, in, group, r * in);
                }
                for (int m = 0; m < rows; m++) {
                    dots(xs, 4L * m * in, group, in);
                    MemorySegment.copy(group, GROUP * in, ys, FLOAT, 4 * ((long) m * out + n), count);
                }
            }
        });
    }

    /** The products of x, from a byte offset on, with each of four rows of w, straight from memory. */
    private static void dots(
            MemorySegment x, long offset, MemorySegment w, long row, int length, MemorySegment y, long output) {
        FloatVector sum0 = FloatVector.zero(FLOATS);
        FloatVector sum1 = FloatVector.zero(FLOATS);
        FloatVector sum2 = FloatVector.zero(FLOATS);
        FloatVector sum3 = FloatVector.zero(FLOATS);
        long stride = 4L * length;
        int k = 0;
        for (; k <= length - WIDTH; k += WIDTH) {
            FloatVector v = FloatVector.fromMemorySegment(FLOATS, x, offset + 4L * k, ORDER);
            long at = row + 4L * k;
            sum0 = FloatVector.fromMemorySegment(FLOATS, w, at, ORDER).fma(v, sum0);
            sum1 = FloatVector.fromMemorySegment(FLOATS, w, at + stride, ORDER).fma(v, sum1);
            sum2 = FloatVector.fromMemorySegment(FLOATS, w, at + 2 * stride, ORDER)
                    .fma(v, sum2);
            sum3 = FloatVector.fromMemorySegment(FLOATS, w, at + 3 * stride, ORDER)
                    .fma(v, sum3);
        }
        y.set(FLOAT, output, Lanes.sum(sum0));
        y.set(FLOAT, output + 4, Lanes.sum(sum1));
        y.set(FLOAT, output + 8, Lanes.sum(sum2));
        y.set(FLOAT, output + 12, Lanes.sum(sum3));
        rest(DType.F32, x, offset, w, row, k, length, y, output);
    }

    /** The products of x, from a byte offset on, with each of four rows of w, straight from memory, of bfloat16. */
    private static void dotsBf16(
            MemorySegment x, long offset, MemorySegment w, long row, int length, MemorySegment y, long output) {
        FloatVector sum0 = FloatVector.zero(FLOATS);
        FloatVector sum1 = FloatVector.zero(FLOATS);
        FloatVector sum2 = FloatVector.zero(FLOATS);
        FloatVector sum3 = FloatVector.zero(FLOATS);
        long stride = 2L * length;
        int k = 0;
        for (; k <= length - WIDTH; k += WIDTH) {
            FloatVector v = FloatVector.fromMemorySegment(FLOATS, x, offset + 4L * k, ORDER);
            long at = row + 2L * k;
            sum0 = Widen.bf16(w, at).fma(v, sum0);
            sum1 = Widen.bf16(w, at + stride).fma(v, sum1);
            sum2 = Widen.bf16(w, at + 2 * stride).fma(v, sum2);
            sum3 = Widen.bf16(w, at + 3 * stride).fma(v, sum3);
        }
        y.set(FLOAT, output, Lanes.sum(sum0));
        y.set(FLOAT, output + 4, Lanes.sum(sum1));
        y.set(FLOAT, output + 8, Lanes.sum(sum2));
        y.set(FLOAT, output + 12, Lanes.sum(sum3));
        rest(DType.BF16, x, offset, w, row, k, length, y, output);
    }

    /** Adds what is left of the sums, from index {@code from} on, in which there is no whole vector. */
    private static void rest(
            DType dtype,
            MemorySegment x,
            long offset,
            MemorySegment w,
            long row,
            int from,
            int length,
            MemorySegment y,
            long output) {
        for (int k = from; k < length; k++) {
            float v = x.get(FLOAT, offset + 4L * k);
            for (int r = 0; r < GROUP; r++) {
                long at = row + dtype.bytes() * ((long) r * length + k);
                float weight = dtype == DType.F32 ? w.get(FLOAT, at) : Float.intBitsToFloat(w.get(SHORT, at) << 16);
                y.set(FLOAT, output + 4L * r, Math.fma(v, weight, y.get(FLOAT, output + 4L * r)));
            }
        }
    }

    /** The products of x, from a byte offset on, with each of four rows of this length: left behind those rows. */
    private static void dots(MemorySegment x, long offset, float[] rows, int length) {
        FloatVector sum0 = FloatVector.zero(FLOATS);
        FloatVector sum1 = FloatVector.zero(FLOATS);
        FloatVector sum2 = FloatVector.zero(FLOATS);
        FloatVector sum3 = FloatVector.zero(FLOATS);
        int k = 0;
        for (; k <= length - WIDTH; k += WIDTH) {
            FloatVector v = FloatVector.fromMemorySegment(FLOATS, x, offset + 4L * k, ORDER);
            sum0 = FloatVector.fromArray(FLOATS, rows, k).fma(v, sum0);
            sum1 = FloatVector.fromArray(FLOATS, rows, length + k).fma(v, sum1);
            sum2 = FloatVector.fromArray(FLOATS, rows, 2 * length + k).fma(v, sum2);
            sum3 = FloatVector.fromArray(FLOATS, rows, 3 * length + k).fma(v, sum3);
        }
        int sums = GROUP * length;
        rows[sums] = Lanes.sum(sum0);
        rows[sums + 1] = Lanes.sum(sum1);
        rows[sums + 2] = Lanes.sum(sum2);
        rows[sums + 3] = Lanes.sum(sum3);
        for (; k < length; k++) {
            float v = x.get(FLOAT, offset + 4L * k);
            for (int r = 0; r < GROUP; r++) {
                rows[sums + r] = Math.fma(v, rows[r * length + k], rows[sums + r]);
            }
        }
    }
}
