package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorShuffle;

/**
 * Transposes square blocks as wide as a vector: for each bit of a row's number, and with it of a lane's, pairs of rows
 * exchange half of their lanes. Two bits at a time while four rows are in registers.
 */
final class Transpose {

    private static final VectorShuffle<Float> PARTNER8 = partner(8);
    private static final VectorShuffle<Float> PARTNER4 = partner(4);
    private static final VectorShuffle<Float> PARTNER2 = partner(2);
    private static final VectorShuffle<Float> PARTNER1 = partner(1);

    private static final VectorMask<Float> UPPER8 = upper(8);
    private static final VectorMask<Float> UPPER4 = upper(4);
    private static final VectorMask<Float> UPPER2 = upper(2);
    private static final VectorMask<Float> UPPER1 = upper(1);

    private Transpose() {}

    private static VectorShuffle<Float> partner(int bit) {
        return VectorShuffle.fromOp(FLOATS, lane -> (lane ^ bit) % WIDTH);
    }

    private static VectorMask<Float> upper(int bit) {
        boolean[] lanes = new boolean[WIDTH];
        for (int lane = 0; lane < WIDTH; lane++) {
            lanes[lane] = (lane & bit) != 0;
        }
        return VectorMask.fromArray(FLOATS, lanes, 0);
    }

    /**
     * Transposes {@code WIDTH} rows of {@code in}, of this many elements, block by block.
     *
     * @param cols a multiple of WIDTH
     * @param in element (row, col) at {@code row · cols + col}; overwritten
     * @param out element (row, col) goes to {@code outStart + col · stride + row}
     */
    static void rows(float[] in, int cols, float[] out, int outStart, int stride) {
        for (int col = 0; col < cols; col += WIDTH) {
            for (int row = 0; WIDTH == 16 && row < 4; row++) {
                int at = col + row * cols;
                exchange84(in, at, 4 * cols, in, at, 4 * cols);
            }
            for (int row = 0; WIDTH == 8 && row < 4; row++) {
                int at = col + row * cols;
                exchange4(in, at, 4 * cols, in, at, 4 * cols);
            }
            for (int row = 0; row < WIDTH; row += 4) {
                exchange21(in, col + row * cols, cols, out, outStart + (col + row) * stride, stride);
            }
        }
    }

    /**
     * The same of float32 rows in native memory, with vectors of 8 or 16.
     *
     * @param in element (row, col) at byte {@code offset + row · rowBytes + 4 · col}
     * @param between room for {@code WIDTH · WIDTH}
     */
    static void rows(
            MemorySegment in,
            long offset,
            long rowBytes,
            int cols,
            float[] between,
            float[] out,
            int outStart,
            int stride) {
        for (int col = 0; col < cols; col += WIDTH) {
            long at = offset + 4L * col;
            for (int row = 0; WIDTH == 16 && row < 4; row++) {
                exchange84(in, at + row * rowBytes, 4 * rowBytes, between, row * WIDTH, 4 * WIDTH);
            }
            for (int row = 0; WIDTH == 8 && row < 4; row++) {
                exchange4(in, at + row * rowBytes, 4 * rowBytes, between, row * WIDTH, 4 * WIDTH);
            }
            for (int row = 0; row < WIDTH; row += 4) {
                exchange21(between, row * WIDTH, WIDTH, out, outStart + (col + row) * stride, stride);
            }
        }
    }

    /**
     * Transposes one block, and leaves {@code in} as it is.
     *
     * @param in element (row, col) at {@code inStart + row · stride + col}
     * @param out element (row, col) goes to {@code outStart + col · stride + row}; another array than {@code in}
     */
    static void block(float[] in, int inStart, float[] out, int outStart, int stride) {
        for (int row = 0; WIDTH == 16 && row < 4; row++) {
            exchange84(in, inStart + row * stride, 4 * stride, out, outStart + row * stride, 4 * stride);
        }
        for (int row = 0; WIDTH == 8 && row < 4; row++) {
            exchange4(in, inStart + row * stride, 4 * stride, out, outStart + row * stride, 4 * stride);
        }
        float[] between = WIDTH == 4 ? in : out;
        int start = WIDTH == 4 ? inStart : outStart;
        for (int at = 0; at < WIDTH * stride; at += 4 * stride) {
            exchange21(between, start + at, stride, out, outStart + at, stride);
        }
    }

    private static void exchange84(float[] x, int start, int stride, float[] y, int yStart, int yStride) {
        FloatVector x0 = FloatVector.fromArray(FLOATS, x, start);
        FloatVector x1 = FloatVector.fromArray(FLOATS, x, start + stride);
        FloatVector x2 = FloatVector.fromArray(FLOATS, x, start + 2 * stride);
        FloatVector x3 = FloatVector.fromArray(FLOATS, x, start + 3 * stride);
        exchange84(x0, x1, x2, x3, y, yStart, yStride);
    }

    private static void exchange84(MemorySegment x, long offset, long stride, float[] y, int yStart, int yStride) {
        FloatVector x0 = Widen.f32(x, offset);
        FloatVector x1 = Widen.f32(x, offset + stride);
        FloatVector x2 = Widen.f32(x, offset + 2 * stride);
        FloatVector x3 = Widen.f32(x, offset + 3 * stride);
        exchange84(x0, x1, x2, x3, y, yStart, yStride);
    }

    /** Rows 8 apart, then rows 4 apart, while they are in registers. */
    private static void exchange84(
            FloatVector x0, FloatVector x1, FloatVector x2, FloatVector x3, float[] y, int yStart, int yStride) {
        FloatVector y0 = x0.blend(x2.rearrange(PARTNER8), UPPER8);
        FloatVector y1 = x1.blend(x3.rearrange(PARTNER8), UPPER8);
        FloatVector y2 = x0.rearrange(PARTNER8).blend(x2, UPPER8);
        FloatVector y3 = x1.rearrange(PARTNER8).blend(x3, UPPER8);
        y0.blend(y1.rearrange(PARTNER4), UPPER4).intoArray(y, yStart);
        y0.rearrange(PARTNER4).blend(y1, UPPER4).intoArray(y, yStart + yStride);
        y2.blend(y3.rearrange(PARTNER4), UPPER4).intoArray(y, yStart + 2 * yStride);
        y2.rearrange(PARTNER4).blend(y3, UPPER4).intoArray(y, yStart + 3 * yStride);
    }

    private static void exchange4(float[] x, int start, int stride, float[] y, int yStart, int yStride) {
        FloatVector x0 = FloatVector.fromArray(FLOATS, x, start);
        FloatVector x1 = FloatVector.fromArray(FLOATS, x, start + stride);
        exchange4(x0, x1, y, yStart, yStride);
    }

    private static void exchange4(MemorySegment x, long offset, long stride, float[] y, int yStart, int yStride) {
        exchange4(Widen.f32(x, offset), Widen.f32(x, offset + stride), y, yStart, yStride);
    }

    /** Rows 4 apart. */
    private static void exchange4(FloatVector x0, FloatVector x1, float[] y, int yStart, int yStride) {
        x0.blend(x1.rearrange(PARTNER4), UPPER4).intoArray(y, yStart);
        x0.rearrange(PARTNER4).blend(x1, UPPER4).intoArray(y, yStart + yStride);
    }

    /** Rows 2 apart, then neighbours. */
    private static void exchange21(float[] x, int start, int stride, float[] out, int outStart, int outStride) {
        FloatVector x0 = FloatVector.fromArray(FLOATS, x, start);
        FloatVector x1 = FloatVector.fromArray(FLOATS, x, start + stride);
        FloatVector x2 = FloatVector.fromArray(FLOATS, x, start + 2 * stride);
        FloatVector x3 = FloatVector.fromArray(FLOATS, x, start + 3 * stride);
        FloatVector y0 = x0.blend(x2.rearrange(PARTNER2), UPPER2);
        FloatVector y1 = x1.blend(x3.rearrange(PARTNER2), UPPER2);
        FloatVector y2 = x0.rearrange(PARTNER2).blend(x2, UPPER2);
        FloatVector y3 = x1.rearrange(PARTNER2).blend(x3, UPPER2);
        y0.blend(y1.rearrange(PARTNER1), UPPER1).intoArray(out, outStart);
        y0.rearrange(PARTNER1).blend(y1, UPPER1).intoArray(out, outStart + outStride);
        y2.blend(y3.rearrange(PARTNER1), UPPER1).intoArray(out, outStart + 2 * outStride);
        y2.rearrange(PARTNER1).blend(y3, UPPER1).intoArray(out, outStart + 3 * outStride);
    }
}
