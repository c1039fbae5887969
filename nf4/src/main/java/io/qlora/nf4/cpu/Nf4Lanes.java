package io.qlora.nf4.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.INTS;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import io.qlora.nf4.Nf4;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/**
 * The codebook in vectors. A word is an int of packed codes: element e of its eight is the nibble that starts at bit
 * {@link Nf4Reader#SHIFTS SHIFTS[e]}.
 *
 * <p>The table of 16 values is one vector of 16 lanes, two of 8, or four of 4: {@code selectFrom} looks at as many low bits
 * of an index as its table has, and blends on the others do the rest. Loops load the tables once, outside.
 */
final class Nf4Lanes {

    private static final int[] VALUES = new int[16];
    private static final int[] SHIFTS = new int[16]; // of two words
    private static final int WORD_BITS = Integer.numberOfTrailingZeros(Nf4Reader.WORD);
    private static final int[] NUMBERS = new int[2 * 16];
    private static final VectorMask<Integer> UPPER = VectorMask.fromLong(INTS, 0xff00);

    static {
        float[] values = Nf4.values();
        for (int i = 0; i < values.length; i++) {
            VALUES[i] = Float.floatToRawIntBits(values[i]);
            SHIFTS[i] = Nf4Reader.SHIFTS[i % Nf4Reader.WORD];
        }
        for (int i = 0; i < NUMBERS.length; i++) {
            NUMBERS[i] = i;
        }
    }

    private Nf4Lanes() {}

    /** The table's first part. */
    static IntVector table() {
        return IntVector.fromArray(INTS, VALUES, 0);
    }

    /** Part {@code part} of the table where it has so many, else {@code table0}, which is not used then. */
    static IntVector table(int part, IntVector table0) {
        return part * WIDTH < VALUES.length ? IntVector.fromArray(INTS, VALUES, part * WIDTH) : table0;
    }

    /** The values of the codes in the low four bits of each lane; the other bits may be anything. */
    static FloatVector values(IntVector codes, IntVector table0, IntVector table1, IntVector table2, IntVector table3) {
        if (WIDTH == 16) {
            return codes.selectFrom(table0).reinterpretAsFloats();
        }
        VectorMask<Integer> bit3 = codes.lanewise(VectorOperators.LSHL, 28).compare(VectorOperators.LT, 0);
        if (WIDTH == 8) {
            return codes.selectFrom(table0)
                    .blend(codes.selectFrom(table1), bit3)
                    .reinterpretAsFloats();
        }
        VectorMask<Integer> bit2 = codes.lanewise(VectorOperators.LSHL, 29).compare(VectorOperators.LT, 0);
        IntVector low = codes.selectFrom(table0).blend(codes.selectFrom(table1), bit2);
        IntVector high = codes.selectFrom(table2).blend(codes.selectFrom(table3), bit2);
        return low.blend(high, bit3).reinterpretAsFloats();
    }

    /** Where the codes of the elements from {@code first} on start in their words, for {@link #spread}. */
    static IntVector shifts(int first) {
        return IntVector.fromArray(INTS, SHIFTS, first % Nf4Reader.WORD);
    }

    /**
     * The codes of WIDTH elements in a row, in the low bits of the lanes.
     *
     * @param words the words they are in, from {@code at} on: two with 16 lanes, one with 8, half of one with 4
     * @param shifts of the first of them
     */
    static IntVector spread(int[] words, int at, IntVector shifts) {
        IntVector word = IntVector.broadcast(INTS, words[at]);
        if (WIDTH == 16) {
            word = word.blend(words[at + 1], UPPER);
        }
        return word.lanewise(VectorOperators.LSHR, shifts);
    }

    /** Which of a row's words the elements from {@code first} on are in. */
    static IntVector words(int first) {
        return numbers(first).lanewise(VectorOperators.LSHR, WORD_BITS);
    }

    /** The numbers from {@code first} on, one a lane. */
    static IntVector numbers(int first) {
        return IntVector.fromArray(INTS, NUMBERS, first);
    }

    /** A scale for the lower half of the lanes, and one for the upper. */
    static FloatVector halves(float lower, float upper) {
        return FloatVector.broadcast(FLOATS, lower).blend(upper, UPPER.cast(FLOATS));
    }
}
