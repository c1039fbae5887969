package io.qlora.nf4.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.INTS;
import static io.qlora.engine.cpu.Lanes.ORDER;
import static io.qlora.engine.cpu.Lanes.WIDTH;
import static io.qlora.engine.cpu.MatMul.NR;
import static io.qlora.nf4.cpu.Nf4Reader.BLOCK;
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

    private static final int WORDS = NR / WORD; // in a row of the panel

    /** Bytes that are read of a row, at most. */
    static final int ROW_BYTES = Math.max(8, 4 * WORDS) + 1;

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
        for (int k = 0; k < depth; k += WORD) {
            int n = k / WORD;
            IntVector word = IntVector.fromArray(INTS, words, (column + n % WIDTH) * stride + n / WIDTH * WIDTH);
            FloatVector scale = FloatVector.fromArray(FLOATS, scales, k / BLOCK * NR + column);
            FloatVector next = FloatVector.fromArray(FLOATS, scales, (k / BLOCK + 1) * NR + column);
            for (int e = 0; e < WORD; e += 2) { // a byte of each word: its high code, its low one
                IntVector high = word.lanewise(VectorOperators.LSHR, 4 * e + 4);
                IntVector low = word.lanewise(VectorOperators.LSHR, 4 * e);
                VectorMask<Float> first =
                        bound.compare(VectorOperators.LE, k % BLOCK + e).cast(FLOATS);
                VectorMask<Float> second =
                        bound.compare(VectorOperators.LE, k % BLOCK + e + 1).cast(FLOATS);
                int at = (k + e) * NR + column;
                Nf4Lanes.values(high, table0, table1, table2, table3)
                        .mul(scale.blend(next, first))
                        .intoArray(panel, at);
                Nf4Lanes.values(low, table0, table1, table2, table3)
                        .mul(scale.blend(next, second))
                        .intoArray(panel, at + NR);
            }
        }
    }

    /**
     * Decodes rows of the panel that begin at whole bytes, with one scale each.
     *
     * @param offset of the first row, in bytes
     * @param stride bytes from row to row
     * @param first where the rows' scales begin
     */
    static void rows(
            MemorySegment codes, long offset, long stride, float[] scales, int first, int depth, float[] panel) {
        IntVector table0 = Nf4Lanes.table();
        IntVector table1 = Nf4Lanes.table(1, table0);
        IntVector table2 = Nf4Lanes.table(2, table0);
        IntVector table3 = Nf4Lanes.table(3, table0);
        IntVector leftShifts = Nf4Lanes.shifts(0);
        IntVector rightShifts = Nf4Lanes.shifts(WIDTH);
        IntVector leftWord = Nf4Lanes.words(0);
        IntVector rightWord = Nf4Lanes.words(WIDTH);
        for (int k = 0; k < depth; k++) {
            IntVector words = words(codes, offset + k * stride);
            IntVector left = leftWord.selectFrom(words).lanewise(VectorOperators.LSHR, leftShifts);
            IntVector right = rightWord.selectFrom(words).lanewise(VectorOperators.LSHR, rightShifts);
            float scale = scales[first + k];
            Nf4Lanes.values(left, table0, table1, table2, table3).mul(scale).intoArray(panel, k * NR);
            Nf4Lanes.values(right, table0, table1, table2, table3).mul(scale).intoArray(panel, k * NR + WIDTH);
        }
    }

    /**
     * {@link #rows} where blocks straddle rows: of every {@code step}th row, all of which begin at a byte's same half.
     *
     * @param first the first row's first element
     * @param in elements from row to row
     * @param scales of all blocks, and one more
     * @param from the first of these rows
     */
    static void straddledRows(
            MemorySegment codes, long first, long in, float[] scales, int from, int step, int depth, float[] panel) {
        int half = (int) (first + from * in) & 1;
        int bits = 4 * half;
        int low = half == 0 ? ~0 : LOW_CODES; // what stays of a byte, and what it gets of the next
        int high = half == 0 ? 0 : LOW_CODES;
        IntVector table0 = Nf4Lanes.table();
        IntVector table1 = Nf4Lanes.table(1, table0);
        IntVector table2 = Nf4Lanes.table(2, table0);
        IntVector table3 = Nf4Lanes.table(3, table0);
        IntVector leftShifts = Nf4Lanes.shifts(0);
        IntVector rightShifts = Nf4Lanes.shifts(WIDTH);
        IntVector leftWord = Nf4Lanes.words(0);
        IntVector rightWord = Nf4Lanes.words(WIDTH);
        IntVector numbers = Nf4Lanes.numbers(0);
        for (int k = from; k < depth; k += step) {
            long element = first + k * in;
            IntVector words = words(codes, element / 2)
                    .and(low)
                    .lanewise(VectorOperators.LSHL, bits)
                    .or(words(codes, element / 2 + half)
                            .lanewise(VectorOperators.LSHR, bits)
                            .and(high));
            IntVector left = leftWord.selectFrom(words).lanewise(VectorOperators.LSHR, leftShifts);
            IntVector right = rightWord.selectFrom(words).lanewise(VectorOperators.LSHR, rightShifts);
            int block = (int) (element / BLOCK);
            int bound = BLOCK - (int) (element % BLOCK); // after so many elements the scale changes
            FloatVector scale = FloatVector.broadcast(FLOATS, scales[block]);
            FloatVector next = FloatVector.broadcast(FLOATS, scales[block + 1]);
            FloatVector leftScale =
                    scale.blend(next, numbers.compare(VectorOperators.GE, bound).cast(FLOATS));
            FloatVector rightScale = scale.blend(
                    next, numbers.compare(VectorOperators.GE, bound - WIDTH).cast(FLOATS));
            Nf4Lanes.values(left, table0, table1, table2, table3).mul(leftScale).intoArray(panel, k * NR);
            Nf4Lanes.values(right, table0, table1, table2, table3)
                    .mul(rightScale)
                    .intoArray(panel, k * NR + WIDTH);
        }
    }

    /** A row's words, in the lower lanes or, where they are one, in all. */
    private static IntVector words(MemorySegment codes, long offset) {
        if (WIDTH >= 8) {
            return (IntVector)
                    IntVector.fromMemorySegment(ROW, codes, offset, ORDER).reinterpretShape(INTS, 0);
        }
        return IntVector.broadcast(INTS, codes.get(INT, offset));
    }
}
