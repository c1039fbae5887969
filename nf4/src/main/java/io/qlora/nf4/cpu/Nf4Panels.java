package io.qlora.nf4.cpu;

import static io.qlora.engine.cpu.Lanes.WIDTH;
import static io.qlora.engine.cpu.MatMul.NR;
import static io.qlora.nf4.cpu.Nf4Reader.BLOCK;
import static io.qlora.nf4.cpu.Nf4Reader.WORD;

import io.qlora.engine.cpu.HeapArrays;
import io.qlora.engine.cpu.PanelScratch;
import io.qlora.engine.cpu.PanelSource;
import io.qlora.engine.tensor.Nf4Weight;
import java.util.Arrays;

/**
 * Panels of a 4-bit matrix of any width, decoded while they are packed; its scales, a 64th of the elements, all before. Where
 * rows are whole blocks, as in every common model, neighbours share a scale; where blocks straddle rows, each element's is
 * chosen of two.
 */
public final class Nf4Panels {

    private static final int SCALES = 1024; // a piece of the work before

    private Nf4Panels() {}

    /** {@code Wᵀ}, for {@code x·Wᵀ}: depth in, width out. To be closed after the product. */
    public static PanelSource forward(Nf4Weight w) {
        Nf4Reader reader = new Nf4Reader(w);
        float[] scales = scales(reader);
        return reader.in % BLOCK == 0 ? new Columns(reader, scales) : new StraddledColumns(reader, scales);
    }

    /** W itself, for {@code dy·W}: depth out, width in. To be closed after the product. */
    public static PanelSource backward(Nf4Weight w) {
        Nf4Reader reader = new Nf4Reader(w);
        float[] scales = scales(reader);
        return reader.in % BLOCK == 0 ? new Rows(reader, scales) : new StraddledRows(reader, scales);
    }

    /** Room for all scales, and for one that is read, but not used, behind the last. */
    private static float[] scales(Nf4Reader w) {
        return HeapArrays.take(w.blocks() + 1);
    }

    /** A weight and its scales, one block after the other. */
    private sealed interface Decoding extends PanelSource {

        Nf4Reader w();

        float[] scales();

        @Override
        default int preparations() {
            return Math.ceilDiv(w().blocks(), SCALES);
        }

        @Override
        default void prepare(int piece) {
            int from = piece * SCALES;
            w().scales(from, Math.min(SCALES, w().blocks() - from), scales(), from);
        }

        @Override
        default void close() {
            HeapArrays.give(scales());
        }
    }

    /** Wᵀ. */
    private sealed interface Forward extends Decoding {
        @Override
        default int depth() {
            return w().in;
        }

        @Override
        default int width() {
            return w().out;
        }
    }

    /** W. */
    private sealed interface Backward extends Decoding {
        @Override
        default int depth() {
            return w().out;
        }

        @Override
        default int width() {
            return w().in;
        }
    }

    /**
     * Wᵀ, of whole blocks a row and so of a panel, whose greatest depth is a multiple of a block's. Words of eight codes are
     * transposed, an eighth of the elements there are, and decoded afterwards.
     */
    private record Columns(Nf4Reader w, float[] scales) implements Forward {

        @Override
        public void pack(int k0, int kc, int n0, int nr, float[] panel, PanelScratch scratch) {
            int stride = stride(kc);
            int blocks = kc / BLOCK;
            int[] words = scratch.ints(NR * stride);
            float[] ofPanel = scratch.floats(blocks * NR);
            Arrays.fill(ofPanel, 0, blocks * NR, 0f);
            for (int n = 0; n < nr; n++) {
                long from = (long) (n0 + n) * w.in + k0;
                w.stage(from, kc, words, n * stride);
                int block = (int) (from / BLOCK);
                for (int b = 0; b < blocks; b++) {
                    ofPanel[b * NR + n] = scales[block + b];
                }
            }
            WordTiles.transpose(words, stride, NR);
            for (int column = 0; column < NR; column += WIDTH) {
                PanelDecoder.columns(words, stride, ofPanel, kc, panel, column);
            }
        }

        /** Words of a column that holds {@code kc} elements, rounded up to whole vectors. */
        static int stride(int kc) {
            return Math.ceilDiv(kc, WORD * WIDTH) * WIDTH;
        }
    }

    /** {@link Columns} of any width. */
    private record StraddledColumns(Nf4Reader w, float[] scales) implements Forward {

        @Override
        public void pack(int k0, int kc, int n0, int nr, float[] panel, PanelScratch scratch) {
            int stride = Columns.stride(kc);
            int blocks = Math.ceilDiv(kc, BLOCK) + 1; // that a column can touch
            int[] words = scratch.ints(NR * stride + NR);
            int bounds = NR * stride; // in words: after how many elements the scale changes, by column
            float[] ofPanel = scratch.floats(blocks * NR);
            Arrays.fill(ofPanel, 0, blocks * NR, 0f);
            for (int n = 0; n < nr; n++) {
                long from = (long) (n0 + n) * w.in + k0;
                int phase = (int) (from % BLOCK);
                w.stage(from, kc, words, n * stride);
                int block = (int) (from / BLOCK);
                int touched = Math.ceilDiv(phase + kc, BLOCK);
                for (int b = 0; b < touched; b++) {
                    ofPanel[b * NR + n] = scales[block + b];
                }
                words[bounds + n] = BLOCK - phase;
            }
            WordTiles.transpose(words, stride, NR);
            for (int column = 0; column < NR; column += WIDTH) {
                PanelDecoder.straddledColumns(words, stride, ofPanel, bounds, kc, panel, column);
            }
        }
    }

    /** W, of whole blocks a row: a row of the panel lies within one. Scales are in the order of columns: {@code [in / 64, out]}. */
    private record Rows(Nf4Reader w, float[] scales) implements Backward {

        @Override
        public int preparations() {
            return Math.ceilDiv(w.out, rows());
        }

        @Override
        public void prepare(int piece) {
            int across = w.in / BLOCK;
            int from = piece * rows();
            int rows = Math.min(rows(), w.out - from);
            float[] byRow = PanelScratch.ofThread().floats(rows * across);
            w.scales((long) from * across, rows * across, byRow, 0);
            for (int row = 0; row < rows; row++) {
                for (int column = 0; column < across; column++) {
                    scales[column * w.out + from + row] = byRow[row * across + column];
                }
            }
        }

        /** Rows of W whose scales are a piece of work. */
        private int rows() {
            return Math.ceilDiv(SCALES * BLOCK, w.in);
        }

        @Override
        public void pack(int k0, int kc, int n0, int nr, float[] panel, PanelScratch scratch) {
            long offset = ((long) k0 * w.in + n0) / 2;
            PanelDecoder.rows(w.codes, offset, w.in / 2, scales, n0 / BLOCK * w.out + k0, kc, panel);
        }
    }

    /** {@link Rows} of any width: a row of the panel lies within two blocks. */
    private record StraddledRows(Nf4Reader w, float[] scales) implements Backward {

        @Override
        public void pack(int k0, int kc, int n0, int nr, float[] panel, PanelScratch scratch) {
            long first = (long) k0 * w.in + n0;
            int whole = kc;
            while (whole > 0 && (first + (whole - 1L) * w.in) / 2 + PanelDecoder.ROW_BYTES > w.codes.byteSize()) {
                whole--; // what would be read behind it is not there
                w.decode(first + (long) whole * w.in, nr, panel, whole * NR);
            }
            if ((w.in & 1) == 0) {
                PanelDecoder.straddledRows(w.codes, first, w.in, scales, 0, 1, whole, panel);
            } else {
                PanelDecoder.straddledRows(w.codes, first, w.in, scales, 0, 2, whole, panel);
                PanelDecoder.straddledRows(w.codes, first, w.in, scales, 1, 2, whole, panel);
            }
            for (int k = 0; k < kc && nr < NR; k++) {
                Arrays.fill(panel, k * NR + nr, (k + 1) * NR, 0f);
            }
        }
    }
}
