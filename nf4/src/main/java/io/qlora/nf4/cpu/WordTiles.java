package io.qlora.nf4.cpu;

import static io.qlora.engine.cpu.Lanes.INTS;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/**
 * Transposes square tiles of ints, as wide as a vector, in place: for each bit of the index, rows that differ in it exchange
 * the lanes that differ in it.
 */
final class WordTiles {

    private WordTiles() {}

    /**
     * Transposes every tile of a matrix.
     *
     * @param words {@code [rows, stride]}, both multiples of WIDTH
     */
    static void transpose(int[] words, int stride, int rows) {
        for (int start = 0; start < rows * stride; start += WIDTH * stride) {
            for (int column = 0; column < stride; column += WIDTH) {
                for (int bit = 1; bit < WIDTH; bit *= 2) {
                    exchange(words, start + column, stride, bit);
                }
            }
        }
    }

    private static void exchange(int[] words, int start, int stride, int bit) {
        IntVector lanes = Nf4Lanes.numbers(0);
        IntVector swapped = lanes.lanewise(VectorOperators.XOR, bit);
        VectorMask<Integer> upper = lanes.and(bit).compare(VectorOperators.NE, 0);
        for (int pair = 0; pair < WIDTH / 2; pair++) {
            int row = start + (pair + (pair & -bit)) * stride; // those whose number lacks the bit
            int other = row + bit * stride;
            IntVector x = IntVector.fromArray(INTS, words, row);
            IntVector y = IntVector.fromArray(INTS, words, other);
            x.blend(swapped.selectFrom(y), upper).intoArray(words, row);
            swapped.selectFrom(x).blend(y, upper).intoArray(words, other);
        }
    }
}
