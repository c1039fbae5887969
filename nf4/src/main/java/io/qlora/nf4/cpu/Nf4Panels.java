package io.qlora.nf4.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.INTS;
import static io.qlora.engine.cpu.Lanes.ORDER;
import static io.qlora.engine.cpu.Lanes.WIDTH;
import static io.qlora.engine.cpu.MatMul.NR;
import static io.qlora.nf4.cpu.Nf4Reader.BLOCK;

import io.qlora.engine.cpu.PanelScratch;
import io.qlora.engine.cpu.PanelSource;
import io.qlora.engine.tensor.Nf4Weight;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * Panels of a 4-bit matrix, decoded while they are packed. Where rows are whole blocks, as in every common model, they are
 * decoded in vectors from packed words; any other width goes through a decoded row.
 */
public final class Nf4Panels {

    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;
    private static final int WORD = 8; // elements

    private Nf4Panels() {}

    /** {@code Wᵀ}, for {@code x·Wᵀ}: depth in, width out. */
    public static PanelSource forward(Nf4Weight w) {
        Nf4Reader reader = new Nf4Reader(w);
        return reader.in % BLOCK == 0 ? new Transposed(reader) : new StraddlingTransposed(reader);
    }

    /** W itself, for {@code dy·W}: depth out, width in. */
    public static PanelSource backward(Nf4Weight w) {
        Nf4Reader reader = new Nf4Reader(w);
        return reader.in % BLOCK == 0 ? new Plain(reader) : new StraddlingPlain(reader);
    }

    /** Wᵀ, of whole blocks a row. Words are transposed, an eighth of the elements there are, and decoded afterwards. */
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
            int length = kc / WORD;
            int stride = Math.ceilDiv(length, WIDTH) * WIDTH;
            int blocks = kc / BLOCK;
            int[] words = scratch.ints(NR * stride);
            float[] scales = scratch.floats(blocks * NR);
            if (nr < NR) {
                Arrays.fill(scales, 0, blocks * NR, 0f);
            }
            for (int n = 0; n < nr; n++) {
                long element = (long) (n0 + n) * w.in + k0;
                stage(w.codes, element / 2, length, words, n * stride);
                w.scales(element / BLOCK, blocks, scales, n, NR);
            }
            for (int k = 0; k < length; k += WIDTH) {
                WordTiles.transpose(words, k, stride);
                WordTiles.transpose(words, WIDTH * stride + k, stride);
            }
            decode(words, stride, scales, length, panel, 0);
            decode(words, stride, scales, length, panel, WIDTH);
        }

        /** Words of one row of W, the panel's column. */
        private static void stage(MemorySegment codes, long offset, int length, int[] words, int at) {
            int k = 0;
            for (; k <= length - WIDTH; k += WIDTH) {
                IntVector.fromMemorySegment(INTS, codes, offset + 4L * k, ORDER).intoArray(words, at + k);
            }
            for (; k < length; k++) {
                words[at + k] = codes.get(INT, offset + 4L * k);
            }
        }

        /**
         * Decodes words in transposed tiles with scales {@code [length / 8, NR]}; lanes are columns of the panel.
         *
         * @param column the first of the vector's columns: a half at a time, or the loop's body outgrows the compiler
         */
        private static void decode(int[] words, int stride, float[] scales, int length, float[] panel, int column) {
            IntVector table0 = Nf4Lanes.table(0);
            IntVector table1 = Nf4Lanes.table(1);
            IntVector table2 = Nf4Lanes.table(2);
            IntVector table3 = Nf4Lanes.table(3);
            for (int k = 0; k < length; k++) {
                IntVector word = IntVector.fromArray(INTS, words, (column + k % WIDTH) * stride + k / WIDTH * WIDTH);
                FloatVector scale = FloatVector.fromArray(FLOATS, scales, k / WORD * NR + column);
                int at = k * WORD * NR + column;
                for (int bit = 0; bit < 32; bit += 8) { // a byte of each word: its high code, its low one
                    IntVector high = word.lanewise(VectorOperators.LSHR, bit + 4);
                    IntVector low = word.lanewise(VectorOperators.LSHR, bit);
                    store(high, table0, table1, table2, table3, scale, panel, at);
                    store(low, table0, table1, table2, table3, scale, panel, at + NR);
                    at += 2 * NR;
                }
            }
        }
    }

    /** W, of whole blocks a row: a row of the panel lies within one block. */
    private record Plain(Nf4Reader w) implements PanelSource {

        private static final int WORDS = NR / WORD; // in a row of the panel
        private static final VectorSpecies<Integer> ROW =
                VectorShape.forBitSize(Math.max(64, 32 * WORDS)).withLanes(int.class);

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
            for (int k = 0; k < kc; k++) {
                long element = (long) (k0 + k) * w.in + n0;
                stage(w.codes, element / 2, words, k * WORDS);
                scales[k] = w.scale(element / BLOCK);
            }
            decode(words, scales, kc, panel);
        }

        private static void stage(MemorySegment codes, long offset, int[] words, int at) {
            if (WIDTH >= 8) {
                IntVector.fromMemorySegment(ROW, codes, offset, ORDER).intoArray(words, at);
            } else {
                words[at] = codes.get(INT, offset);
            }
        }

        private static void decode(int[] words, float[] scales, int kc, float[] panel) {
            IntVector table0 = Nf4Lanes.table(0);
            IntVector table1 = Nf4Lanes.table(1);
            IntVector table2 = Nf4Lanes.table(2);
            IntVector table3 = Nf4Lanes.table(3);
            IntVector leftShifts = Nf4Lanes.shifts(0);
            IntVector rightShifts = Nf4Lanes.shifts(1);
            for (int k = 0; k < kc; k++) {
                IntVector left = Nf4Lanes.spread(words, k * WORDS, 0, leftShifts);
                IntVector right = Nf4Lanes.spread(words, k * WORDS, 1, rightShifts);
                FloatVector scale = FloatVector.broadcast(FLOATS, scales[k]);
                store(left, table0, table1, table2, table3, scale, panel, k * NR);
                store(right, table0, table1, table2, table3, scale, panel, k * NR + WIDTH);
            }
        }
    }

    private static void store(
            IntVector codes,
            IntVector table0,
            IntVector table1,
            IntVector table2,
            IntVector table3,
            FloatVector scale,
            float[] panel,
            int at) {
        Nf4Lanes.values(codes, table0, table1, table2, table3).mul(scale).intoArray(panel, at);
    }

    /** Wᵀ of any width: rows are decoded and become columns of the panel. */
    private record StraddlingTransposed(Nf4Reader w) implements PanelSource {
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
            int[] words = scratch.ints(Nf4Decoder.scratch(kc));
            float[] rows = scratch.floats(NR * kc);
            for (int n = 0; n < nr; n++) {
                Nf4Decoder.decode(w, (long) (n0 + n) * w.in + k0, kc, rows, n * kc, words);
            }
            Arrays.fill(rows, nr * kc, NR * kc, 0f);
            transpose(rows, kc, panel);
        }

        private static void transpose(float[] rows, int kc, float[] panel) {
            for (int k = 0; k < kc; k++) {
                for (int n = 0; n < NR; n++) {
                    panel[k * NR + n] = rows[n * kc + k];
                }
            }
        }
    }

    /** W of any width: rows of the panel are decoded one after the other. */
    private record StraddlingPlain(Nf4Reader w) implements PanelSource {
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
            int[] words = scratch.ints(Nf4Decoder.scratch(NR));
            for (int k = 0; k < kc; k++) {
                Nf4Decoder.decode(w, (long) (k0 + k) * w.in + n0, nr, panel, k * NR, words);
                Arrays.fill(panel, k * NR + nr, (k + 1) * NR, 0f);
            }
        }
    }
}
