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
 * model, neighbours share a scale; where blocks straddle rows, each element's is chosen of two.
 */
public final class Nf4Panels {

    private Nf4Panels() {}

    /** {@code Wᵀ}, for {@code x·Wᵀ}: depth in, width out. */
    public static PanelSource forward(Nf4Weight w) {
        Nf4Reader reader = new Nf4Reader(w);
        return reader.in % BLOCK == 0 ? new Columns(reader) : new StraddledColumns(reader);
    }

    /** W itself, for {@code dy·W}: depth out, width in. */
    public static PanelSource backward(Nf4Weight w) {
        Nf4Reader reader = new Nf4Reader(w);
        return reader.in % BLOCK == 0 ? new Rows(reader) : new StraddledRows(reader);
    }

    /**
     * Wᵀ, of whole blocks a row and so of a panel, whose greatest depth is a multiple of a block's. Words of eight codes are
     * transposed, an eighth of the elements there are, and decoded afterwards.
     */
    private record Columns(Nf4Reader w) implements PanelSource {
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
            int stride = stride(kc);
            int blocks = kc / BLOCK;
            int[] words = scratch.ints(NR * stride);
            float[] scales = scratch.floats(blocks * NR);
            Arrays.fill(scales, 0, blocks * NR, 0f);
            for (int n = 0; n < nr; n++) {
                long from = (long) (n0 + n) * w.in + k0;
                w.stage(from, kc, words, n * stride);
                w.scales(from / BLOCK, 1, blocks, scales, n, NR);
            }
            WordTiles.transpose(words, stride, NR);
            for (int column = 0; column < NR; column += WIDTH) {
                PanelDecoder.columns(words, stride, scales, kc, panel, column);
            }
        }

        /** Words of a column that holds {@code kc} elements, rounded up to whole vectors. */
        static int stride(int kc) {
            return Math.ceilDiv(kc, WORD * WIDTH) * WIDTH;
        }
    }

    /** {@link Columns} of any width. */
    private record StraddledColumns(Nf4Reader w) implements PanelSource {
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
            int stride = Columns.stride(kc);
            int blocks = Math.ceilDiv(kc, BLOCK) + 1; // that a column can touch
            int[] words = scratch.ints(NR * stride + NR);
            int bounds = NR * stride; // in words: after how many elements the scale changes, by column
            float[] scales = scratch.floats(blocks * NR);
            Arrays.fill(scales, 0, blocks * NR, 0f);
            for (int n = 0; n < nr; n++) {
                long from = (long) (n0 + n) * w.in + k0;
                int phase = (int) (from % BLOCK);
                w.stage(from, kc, words, n * stride);
                w.scales(from / BLOCK, 1, Math.ceilDiv(phase + kc, BLOCK), scales, n, NR);
                words[bounds + n] = BLOCK - phase;
            }
            WordTiles.transpose(words, stride, NR);
            for (int column = 0; column < NR; column += WIDTH) {
                PanelDecoder.straddledColumns(words, stride, scales, bounds, kc, panel, column);
            }
        }
    }

    /** W, of whole blocks a row: a row of the panel lies within one. */
    private record Rows(Nf4Reader w) implements PanelSource {

        static final int WORDS = NR / WORD; // in a row of the panel

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
            int[] words = scratch.ints(kc * WORDS);
            float[] scales = scratch.floats(kc);
            PanelDecoder.stageRows(w.codes, ((long) k0 * w.in + n0) / 2, w.in / 2, kc, words);
            w.scales(((long) k0 * w.in + n0) / BLOCK, w.in / BLOCK, kc, scales, 0, 1);
            for (int column = 0; column < NR; column += WIDTH) {
                PanelDecoder.rows(words, scales, kc, panel, column);
            }
        }
    }

    /** {@link Rows} of any width: a row of the panel lies within two blocks. */
    private record StraddledRows(Nf4Reader w) implements PanelSource {
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
            int[] words = scratch.ints(kc * Rows.WORDS + kc);
            int bounds = kc * Rows.WORDS; // in words: after how many elements the scale changes, by row
            float[] scales = scratch.floats(2 * kc);
            if (nr == NR && w.in % 2 == 0) {
                PanelDecoder.stageRows(w.codes, ((long) k0 * w.in + n0) / 2, w.in / 2, kc, words);
            } else {
                for (int k = 0; k < kc; k++) {
                    w.stage((long) (k0 + k) * w.in + n0, nr, words, k * Rows.WORDS);
                }
            }
            long last = ((long) w.out * w.in - 1) / BLOCK;
            for (int k = 0; k < kc; k++) {
                long from = (long) (k0 + k) * w.in + n0;
                words[bounds + k] = BLOCK - (int) (from % BLOCK);
                for (int b = 0; b < 2; b++) {
                    scales[b * kc + k] = w.scale(Math.min(from / BLOCK + b, last));
                }
            }
            for (int column = 0; column < NR; column += WIDTH) {
                PanelDecoder.straddledRows(words, scales, bounds, kc, panel, column);
            }
            for (int k = 0; k < kc && nr < NR; k++) {
                Arrays.fill(panel, k * NR + nr, (k + 1) * NR, 0f);
            }
        }
    }
}
