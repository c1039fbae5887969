package io.qlora.nf4.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.INTS;
import static io.qlora.engine.cpu.Lanes.ORDER;
import static io.qlora.engine.cpu.Lanes.WIDTH;
import static io.qlora.engine.cpu.MatMul.NR;
import static io.qlora.nf4.cpu.Nf4Reader.BLOCK;
import static io.qlora.nf4.cpu.Nf4Reader.SHIFTS;
import static io.qlora.nf4.cpu.Nf4Reader.WORD;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * The vector loops of {@link Nf4Panels}, over words and scales that have been gathered. Each decodes one half of a panel,
 * columns {@code column} to {@code column + WIDTH}: a body for both would outgrow what the compiler inlines, and vectors
 * that cross a call that is not inlined are allocated.
 */
final class PanelDecoder {

    private static final int WORDS = NR / WORD; // in a row of the panel
    private static final VectorSpecies<Integer> ROW =
            VectorShape.forBitSize(Math.max(64, 32 * WORDS)).withLanes(int.class);

    private PanelDecoder() {}

    /**
     * Decodes words that each belong to one column.
     *
     * @param words of {@link WordTiles#transpose}: word k of column n at
     *     {@code (column + k % WIDTH) · stride + k − k % WIDTH + n − column}
     * @param scales {@code [depth / 64, NR]}
     * @param depth a multiple of 64
     */
    static void columns(int[] words, int stride, float[] scales, int depth, float[] panel, int column) {
        IntVector table0 = Nf4Lanes.table();
        IntVector table1 = Nf4Lanes.table(1, table0);
        IntVector table2 = Nf4Lanes.table(2, table0);
        IntVector table3 = Nf4Lanes.table(3, table0);
        for (int k = 0; k < depth / WORD; k++) {
            IntVector word = IntVector.fromArray(INTS, words, (column + k % WIDTH) * stride + k / WIDTH * WIDTH);
            FloatVector scale = FloatVector.fromArray(FLOATS, scales, k / WORD * NR + column);
            int at = k * WORD * NR + column;
            for (int bit = 0; bit < 32; bit += 8) { // a byte of each word: its high code, its low one
                IntVector high = word.lanewise(VectorOperators.LSHR, bit + 4);
                IntVector low = word.lanewise(VectorOperators.LSHR, bit);
                Nf4Lanes.values(high, table0, table1, table2, table3).mul(scale).intoArray(panel, at);
                Nf4Lanes.values(low, table0, table1, table2, table3).mul(scale).intoArray(panel, at + NR);
                at += 2 * NR;
            }
        }
    }

    /**
     * {@link #columns} where blocks straddle rows: in each 64 elements, counted from 0, every column goes once from one scale
     * to the next.
     *
     * @param scales {@code [ceil(depth / 64) + 1, NR]}
     * @param bounds in {@code words}, {@code [NR]}: by column, after how many of 64 elements
     */
    static void straddledColumns(
            int[] words, int stride, float[] scales, int bounds, int depth, float[] panel, int column) {
        IntVector table0 = Nf4Lanes.table();
        IntVector table1 = Nf4Lanes.table(1, table0);
        IntVector table2 = Nf4Lanes.table(2, table0);
        IntVector table3 = Nf4Lanes.table(3, table0);
        IntVector bound = IntVector.fromArray(INTS, words, bounds + column);
        for (int k = 0; k < depth; k++) {
            int word = k / WORD;
            IntVector codes = IntVector.fromArray(INTS, words, (column + word % WIDTH) * stride + word / WIDTH * WIDTH)
                    .lanewise(VectorOperators.LSHR, SHIFTS[k % WORD]);
            VectorMask<Integer> crossed = bound.compare(VectorOperators.LE, k % BLOCK);
            FloatVector scale = FloatVector.fromArray(FLOATS, scales, k / BLOCK * NR + column)
                    .blend(FloatVector.fromArray(FLOATS, scales, (k / BLOCK + 1) * NR + column), crossed.cast(FLOATS));
            Nf4Lanes.values(codes, table0, table1, table2, table3).mul(scale).intoArray(panel, k * NR + column);
        }
    }

    /** Gathers the words of a panel's rows, which start {@code stride} bytes apart. */
    static void stageRows(MemorySegment codes, long offset, long stride, int depth, int[] words) {
        for (int k = 0; k < depth; k++) {
            if (WIDTH >= 8) {
                IntVector.fromMemorySegment(ROW, codes, offset + k * stride, ORDER)
                        .intoArray(words, k * WORDS);
            } else {
                words[k] = codes.get(ValueLayout.JAVA_INT_UNALIGNED, offset + k * stride);
            }
        }
    }

    /** Decodes words that lie in the panel's rows, {@code NR / 8} in each, with one scale. */
    static void rows(int[] words, float[] scales, int depth, float[] panel, int column) {
        IntVector table0 = Nf4Lanes.table();
        IntVector table1 = Nf4Lanes.table(1, table0);
        IntVector table2 = Nf4Lanes.table(2, table0);
        IntVector table3 = Nf4Lanes.table(3, table0);
        IntVector shifts = Nf4Lanes.shifts(column);
        for (int k = 0; k < depth; k++) {
            IntVector codes = Nf4Lanes.spread(words, k * WORDS + column / WORD, shifts);
            Nf4Lanes.values(codes, table0, table1, table2, table3)
                    .mul(scales[k])
                    .intoArray(panel, k * NR + column);
        }
    }

    /**
     * {@link #rows} where blocks straddle rows.
     *
     * @param scales {@code [2, depth]}: by row, the first, and the one that it goes on with
     * @param bounds in {@code words}, {@code [depth]}: by row, after how many columns
     */
    static void straddledRows(int[] words, float[] scales, int bounds, int depth, float[] panel, int column) {
        IntVector table0 = Nf4Lanes.table();
        IntVector table1 = Nf4Lanes.table(1, table0);
        IntVector table2 = Nf4Lanes.table(2, table0);
        IntVector table3 = Nf4Lanes.table(3, table0);
        IntVector shifts = Nf4Lanes.shifts(column);
        IntVector columns = Nf4Lanes.numbers(column);
        for (int k = 0; k < depth; k++) {
            IntVector codes = Nf4Lanes.spread(words, k * WORDS + column / WORD, shifts);
            VectorMask<Integer> crossed = columns.compare(VectorOperators.GE, words[bounds + k]);
            FloatVector scale = FloatVector.broadcast(FLOATS, scales[k]).blend(scales[depth + k], crossed.cast(FLOATS));
            Nf4Lanes.values(codes, table0, table1, table2, table3).mul(scale).intoArray(panel, k * NR + column);
        }
    }
}
