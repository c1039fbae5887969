package io.qlora.nf4.cpu;

import static io.qlora.engine.cpu.Lanes.WIDTH;
import static io.qlora.engine.cpu.MatMul.NR;
import static io.qlora.nf4.cpu.Nf4Reader.BLOCK;
import static io.qlora.nf4.cpu.Nf4Reader.WORD;

import io.qlora.engine.cpu.PanelScratch;
import io.qlora.engine.cpu.PanelSource;
import io.qlora.engine.tensor.Nf4Weight;
import java.util.Arrays;

/**
 * Panels of a 4-bit matrix of any width, decoded while they are packed. Where rows are whole blocks, as in every common
 * model, eight elements in a row have one scale; where blocks straddle rows, a scale is chosen for every element of two.
 */
public final class Nf4Panels {

    private Nf4Panels() {}

    /** {@code Wᵀ}, for {@code x·Wᵀ}: depth in, width out. */
    public static PanelSource forward(Nf4Weight w) {
        return new Transposed(new Nf4Reader(w));
    }

    /** W itself, for {@code dy·W}: depth out, width in. */
    public static PanelSource backward(Nf4Weight w) {
        return new Plain(new Nf4Reader(w));
    }

    /** Wᵀ. Words of eight codes are transposed, an eighth of the elements there are, and decoded afterwards. */
    private record Transposed(Nf4Reader w) implements PanelSource {
        @Override
        public int depth() {
            return w.in;
        }

        @Override
        public int width() {
            return w.out;
        }

        @Override
        public void pack(int k0, int kc, int n0, int nr, float[] panel, PanelScratch scratch) {
            int stride = Math.ceilDiv(kc, WORD * WIDTH) * WIDTH;
            int scaleRows = Math.ceilDiv(kc, BLOCK) + 1;
            int[] words = scratch.ints(NR * stride + NR);
            int bounds = NR * stride; // in words: where the scale changes, by column
            float[] scales = scratch.floats(scaleRows * NR);
            Arrays.fill(scales, 0, scaleRows * NR, 0f);
            for (int n = 0; n < nr; n++) {
                long from = (long) (n0 + n) * w.in + k0;
                int phase = (int) (from % BLOCK);
                w.stage(from, kc, words, n * stride);
                w.scales(from / BLOCK, Math.ceilDiv(phase + kc, BLOCK), scales, n, NR);
                words[bounds + n] = BLOCK - phase;
            }
            for (int k = 0; k < stride; k += WIDTH) {
                WordTiles.transpose(words, k, stride);
                WordTiles.transpose(words, WIDTH * stride + k, stride);
            }
            for (int column = 0; column < NR; column += WIDTH) {
                if (w.in % BLOCK == 0) {
                    PanelDecoder.columns(words, stride, scales, kc, panel, column);
                } else {
                    PanelDecoder.straddlingColumns(words, stride, scales, bounds, kc, panel, column);
                }
            }
        }
    }

    /** W. A row of the panel lies within one block or, straddling, two. */
    private record Plain(Nf4Reader w) implements PanelSource {

        private static final int WORDS = NR / WORD; // in a row of the panel

        @Override
        public int depth() {
            return w.out;
        }

        @Override
        public int width() {
            return w.in;
        }

        @Override
        public void pack(int k0, int kc, int n0, int nr, float[] panel, PanelScratch scratch) {
            int[] words = scratch.ints(kc * (WORDS + 1));
            int bounds = kc * WORDS; // in words: where the scale changes, by row
            float[] scales = scratch.floats(2 * kc);
            stage(k0, kc, n0, nr, words);
            for (int k = 0; k < kc; k++) {
                scales[k] = w.scale(((long) (k0 + k) * w.in + n0) / BLOCK);
            }
            if (w.in % BLOCK == 0) {
                PanelDecoder.rows(words, scales, kc, panel);
                return;
            }
            for (int k = 0; k < kc; k++) {
                long from = (long) (k0 + k) * w.in + n0;
                int bound = BLOCK - (int) (from % BLOCK);
                words[bounds + k] = bound;
                scales[kc + k] = bound < nr ? w.scale(from / BLOCK + 1) : 0;
            }
            PanelDecoder.straddlingRows(words, scales, bounds, kc, panel);
            if (nr < NR) {
                for (int k = 0; k < kc; k++) {
                    Arrays.fill(panel, k * NR + nr, (k + 1) * NR, 0f);
                }
            }
        }

        private void stage(int k0, int kc, int n0, int nr, int[] words) {
            if (nr == NR && w.in % 2 == 0) {
                PanelDecoder.stageRows(w.codes, ((long) k0 * w.in + n0) / 2, w.in / 2, kc, words);
                return;
            }
            for (int k = 0; k < kc; k++) {
                w.stage((long) (k0 + k) * w.in + n0, nr, words, k * WORDS);
            }
        }
    }
}
