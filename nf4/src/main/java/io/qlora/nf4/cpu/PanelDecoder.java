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

/** The vector loops of {@link Nf4Panels}, over words and scales that have been gathered. */
final class PanelDecoder {

    private static final int WORDS = NR / WORD; // in a row of the panel
    private static final VectorSpecies<Integer> ROW =
            VectorShape.forBitSize(Math.max(64, 32 * WORDS)).withLanes(int.class);

    private PanelDecoder() {}

    /**
     * Decodes columns {@code column} to {@code column + WIDTH} of a panel: one of its two halves, since with both the loop's
     * body would outgrow the compiler.
     *
     * @param words in tiles of WIDTH that have been transposed: word k of column n at
     *     {@code (column + k % WIDTH) · stride + k − k % WIDTH + n}
     * @param scales {@code [depth / 64, NR]}
     * @param depth a multiple of 64
     */
    static void columns(int[] words, int stride, float[] scales, int depth, float[] panel, int column) {
        IntVector table0 = Nf4Lanes.table(0);
        IntVector table1 = Nf4Lanes.table(1);
        IntVector table2 = Nf4Lanes.table(2);
        IntVector table3 = Nf4Lanes.table(3);
        for (int k = 0; k < depth / WORD; k++) {
            IntVector word = word(words, stride, k, column);
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

    /**
     * {@link #columns} where blocks straddle rows: in 64 elements from a multiple of 64 on, each column goes once from one
     * scale to the next.
     *
     * @param scales {@code [ceil(depth / 64) + 1, NR]}
     * @param bounds in {@code words}, {@code [NR]}: by column, after how many of 64 elements
     */
    static void straddlingColumns(
            int[] words, int stride, float[] scales, int bounds, int depth, float[] panel, int column) {
        IntVector table0 = Nf4Lanes.table(0);
        IntVector table1 = Nf4Lanes.table(1);
        IntVector table2 = Nf4Lanes.table(2);
        IntVector table3 = Nf4Lanes.table(3);
        IntVector bound = IntVector.fromArray(INTS, words, bounds + column);
        for (int k = 0; k < depth; k++) {
            IntVector word = word(words, stride, k / WORD, column);
            IntVector codes = word.lanewise(VectorOperators.LSHR, SHIFTS[k % WORD]);
            FloatVector before = FloatVector.fromArray(FLOATS, scales, k / BLOCK * NR + column);
            FloatVector after = FloatVector.fromArray(FLOATS, scales, (k / BLOCK + 1) * NR + column);
            VectorMask<Float> crossed =
                    bound.compare(VectorOperators.LE, k % BLOCK).cast(FLOATS);
            store(codes, table0, table1, table2, table3, before.blend(after, crossed), panel, k * NR + column);
        }
    }

    private static IntVector word(int[] words, int stride, int k, int column) {
        return IntVector.fromArray(INTS, words, (column + k % WIDTH) * stride + k / WIDTH * WIDTH);
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

    /** Decodes the rows of a panel, {@code NR / 8} words and one scale each. */
    static void rows(int[] words, float[] scales, int depth, float[] panel) {
        IntVector table0 = Nf4Lanes.table(0);
        IntVector table1 = Nf4Lanes.table(1);
        IntVector table2 = Nf4Lanes.table(2);
        IntVector table3 = Nf4Lanes.table(3);
        IntVector leftShifts = Nf4Lanes.shifts(0);
        IntVector rightShifts = Nf4Lanes.shifts(1);
        for (int k = 0; k < depth; k++) {
            IntVector left = Nf4Lanes.spread(words, k * WORDS, 0, leftShifts);
            IntVector right = Nf4Lanes.spread(words, k * WORDS, 1, rightShifts);
            FloatVector scale = FloatVector.broadcast(FLOATS, scales[k]);
            store(left, table0, table1, table2, table3, scale, panel, k * NR);
            store(right, table0, table1, table2, table3, scale, panel, k * NR + WIDTH);
        }
    }

    /**
     * {@link #rows} where blocks straddle rows.
     *
     * @param scales {@code [2, depth]}: by row, the first, and the one that it goes on with
     * @param bounds in {@code words}, {@code [depth]}: by row, after how many columns
     */
    static void straddlingRows(int[] words, float[] scales, int bounds, int depth, float[] panel) {
        IntVector table0 = Nf4Lanes.table(0);
        IntVector table1 = Nf4Lanes.table(1);
        IntVector table2 = Nf4Lanes.table(2);
        IntVector table3 = Nf4Lanes.table(3);
        IntVector leftShifts = Nf4Lanes.shifts(0);
        IntVector rightShifts = Nf4Lanes.shifts(1);
        IntVector leftColumns = Nf4Lanes.numbers(0);
        IntVector rightColumns = Nf4Lanes.numbers(WIDTH);
        for (int k = 0; k < depth; k++) {
            IntVector left = Nf4Lanes.spread(words, k * WORDS, 0, leftShifts);
            IntVector right = Nf4Lanes.spread(words, k * WORDS, 1, rightShifts);
            FloatVector leftScale = scale(scales, k, depth, leftColumns, words[bounds + k]);
            FloatVector rightScale = scale(scales, k, depth, rightColumns, words[bounds + k]);
            store(left, table0, table1, table2, table3, leftScale, panel, k * NR);
            store(right, table0, table1, table2, table3, rightScale, panel, k * NR + WIDTH);
        }
    }

    private static FloatVector scale(float[] scales, int k, int depth, IntVector columns, int bound) {
        VectorMask<Float> crossed = columns.compare(VectorOperators.GE, bound).cast(FLOATS);
        return FloatVector.broadcast(FLOATS, scales[k]).blend(scales[depth + k], crossed);
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
}
