package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.WIDTH;
import static io.qlora.engine.cpu.MatMul.NR;

import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/** Panels of a dense matrix, F32, F16 or BF16 on the host: 16-bit elements are widened while they are packed. */
public final class DensePanels {

    private DensePanels() {}

    /** {@code Wᵀ}, for {@code x·Wᵀ}: depth in, width out. W is {@code [out, in]}. */
    public static PanelSource forward(Tensor w) {
        check(w);
        return new Transposed(w.dtype(), w.segment(), w.cols(), w.length());
    }

    /** W itself, for {@code dy·W}: depth out, width in. W is {@code [out, in]}. */
    public static PanelSource backward(Tensor w) {
        check(w);
        return new Plain(w.dtype(), w.segment(), w.length(), w.cols());
    }

    /** An activation {@code [depth, width]} as it is. */
    public static PanelSource rows(Tensor x) {
        return backward(x);
    }

    private static void check(Tensor w) {
        boolean fits = w.shape().rank() == 2 && w.dtype().isFloat();
        Shapes.require(fits, "MatMul", "right operand", w, "a matrix of floats");
    }

    /** A matrix {@code [depth, width]}: its rows are rows of the panel. */
    private record Plain(DType dtype, MemorySegment w, int depth, int width) implements PanelSource {
        @Override
        public void pack(int k0, int kc, int n0, int nr, float[] panel, PanelScratch scratch) {
            long first = (long) k0 * width + n0;
            if (nr == NR) {
                Widen.pairs(dtype, w, first, width, kc, panel);
                return;
            }
            for (int k = 0; k < kc; k++) {
                Widen.copy(dtype, w, first + (long) k * width, nr, panel, k * NR);
                Arrays.fill(panel, k * NR + nr, (k + 1) * NR, 0f);
            }
        }
    }

    /** A matrix {@code [width, depth]}: its rows are columns of the panel. */
    private record Transposed(DType dtype, MemorySegment w, int depth, int width) implements PanelSource {
        @Override
        public void pack(int k0, int kc, int n0, int nr, float[] panel, PanelScratch scratch) {
            int cols = Math.ceilDiv(kc, WIDTH) * WIDTH;
            float[] rows = scratch.floats(WIDTH * cols);
            if (dtype == DType.F32 && nr == NR && kc == cols && WIDTH >= 8) { // from where they are
                for (int half = 0; half < NR; half += WIDTH) {
                    long offset = 4 * ((long) (n0 + half) * depth + k0);
                    Transpose.rows(w, offset, 4L * depth, kc, rows, panel, half, NR);
                }
                return;
            }
            for (int half = 0; half < NR; half += WIDTH) {
                for (int r = 0; r < WIDTH; r++) {
                    if (half + r < nr) {
                        Widen.copy(dtype, w, (long) (n0 + half + r) * depth + k0, kc, rows, r * cols);
                    } else {
                        Arrays.fill(rows, r * cols, (r + 1) * cols, 0f);
                    }
                }
                Transpose.rows(rows, cols, panel, half, NR);
            }
        }
    }
}
