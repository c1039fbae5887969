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

    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;
    private static final int LOW_CODES = 0x0f0f0f0f; // of each byte

    /** Words in a row of the panel. */
    static final int WORDS = NR / WORD;

    /** Rows whose words fill a vector. */
    static final int ROWS = WIDTH / WORDS;

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

    /** {@code depth}, rounded up to whole vectors of words. */
    static int padded(int depth) {
        return Math.ceilDiv(depth, ROWS) * ROWS;
    }

    /**
     * Gathers the words of a panel's rows, {@link #WORDS} each.
     *
     * @param first the first row's first element
     * @param in elements from row to row; where a row begins in the middle of a byte, its codes are moved by one
     */
    static void stageRows(MemorySegment codes, long first, long in, int depth, int[] words) {
        for (int k = 0; k < depth; k++) {
            long element = first + k * in;
            if ((element & 1) == 0) {
                stageRow(codes, element / 2, words, k * WORDS);
            } else {
                stageOddRow(codes, element / 2, words, k * WORDS);
            }
        }
    }

    private static void stageRow(MemorySegment codes, long offset, int[] words, int at) {
        if (WIDTH >= 8) {
            IntVector.fromMemorySegment(ROW, codes, offset, ORDER).intoArray(words, at);
        } else {
            words[at] = codes.get(INT, offset);
        }
    }

    /** Each byte is made of the low code of one and the high code of the next. */
    private static void stageOddRow(MemorySegment codes, long offset, int[] words, int at) {
        if (WIDTH >= 8) {
            IntVector low = IntVector.fromMemorySegment(ROW, codes, offset, ORDER);
            IntVector high = IntVector.fromMemorySegment(ROW, codes, offset + 1, ORDER);
            low.and(LOW_CODES)
                    .lanewise(VectorOperators.LSHL, 4)
                    .or(high.lanewise(VectorOperators.LSHR, 4).and(LOW_CODES))
                    .intoArray(words, at);
        } else {
            int low = codes.get(INT, offset) & LOW_CODES;
            int high = codes.get(INT, offset + 1) >>> 4 & LOW_CODES;
            words[at] = low << 4 | high;
        }
    }

    /**
     * Decodes rows of the panel, with one scale each; {@link #ROWS} at a time, behind the last of them too.
     *
     * @param words of {@link #stageRows}
     * @param first where the rows' scales begin
     */
    static void rows(int[] words, float[] scales, int first, int depth, float[] panel, int column) {
        IntVector table0 = Nf4Lanes.table();
        IntVector table1 = Nf4Lanes.table(1, table0);
        IntVector table2 = Nf4Lanes.table(2, table0);
        IntVector table3 = Nf4Lanes.table(3, table0);
        IntVector shifts = Nf4Lanes.shifts(column);
        IntVector word = Nf4Lanes.words(column);
        for (int k = 0; k < depth; k += ROWS) {
            IntVector some = IntVector.fromArray(INTS, words, k * WORDS);
            for (int r = 0; r < ROWS; r++) {
                IntVector codes = word.add(r * WORDS).selectFrom(some).lanewise(VectorOperators.LSHR, shifts);
                Nf4Lanes.values(codes, table0, table1, table2, table3)
                        .mul(scales[first + k + r])
                        .intoArray(panel, (k + r) * NR + column);
            }
        }
    }

    /**
     * {@link #rows} where blocks straddle rows.
     *
     * @param scales {@code [depth, 2]}: by row, the first, and the one that it goes on with
     * @param bounds in {@code words}, {@code [depth]}: by row, after how many columns
     */
    static void straddledRows(int[] words, float[] scales, int bounds, int depth, float[] panel, int column) {
        IntVector table0 = Nf4Lanes.table();
        IntVector table1 = Nf4Lanes.table(1, table0);
        IntVector table2 = Nf4Lanes.table(2, table0);
        IntVector table3 = Nf4Lanes.table(3, table0);
        IntVector shifts = Nf4Lanes.shifts(column);
        IntVector word = Nf4Lanes.words(column);
        IntVector columns = Nf4Lanes.numbers(column);
        for (int k = 0; k < depth; k += ROWS) {
            IntVector some = IntVector.fromArray(INTS, words, k * WORDS);
            for (int r = 0; r < ROWS; r++) {
                IntVector codes = word.add(r * WORDS).selectFrom(some).lanewise(VectorOperators.LSHR, shifts);
                VectorMask<Integer> crossed = columns.compare(VectorOperators.GE, words[bounds + k + r]);
                FloatVector scale = FloatVector.broadcast(FLOATS, scales[2 * (k + r)])
                        .blend(scales[2 * (k + r) + 1], crossed.cast(FLOATS));
                Nf4Lanes.values(codes, table0, table1, table2, table3)
                        .mul(scale)
                        .intoArray(panel, (k + r) * NR + column);
            }
        }
    }
}
