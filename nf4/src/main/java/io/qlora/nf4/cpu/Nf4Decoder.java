package io.qlora.nf4.cpu;

import static io.qlora.engine.cpu.Lanes.WIDTH;
import static io.qlora.nf4.cpu.Nf4Reader.BLOCK;
import static io.qlora.nf4.cpu.Nf4Reader.WORD;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.IntVector;

/** Decodes any run of elements in vectors: whole words, and what is left at either end one by one. */
final class Nf4Decoder {

    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;

    private Nf4Decoder() {}

    /**
     * Decodes {@code count} elements of the flattened matrix from element {@code from} on.
     *
     * @param to where to, from {@code at} on
     * @param words scratch, of {@link Nf4Reader#words} ints
     */
    static void decode(Nf4Reader w, long from, int count, float[] to, int at, int[] words) {
        int head = Math.min(count, (int) (-from & (WORD - 1)));
        w.decode(from, head, to, at);
        long i = from + head;
        int length = (count - head) / WORD;
        MemorySegment.copy(w.codes, INT, i / 2, words, 0, length);
        int word = 0;
        while (word < length) {
            long element = i + (long) WORD * word;
            int run = Math.min(length - word, (BLOCK - (int) (element % BLOCK)) / WORD);
            decodeWords(words, word, run, w.scale(element / BLOCK), to, at + head + WORD * word);
            int whole = run * WORD / WIDTH * WIDTH; // with 16 lanes an odd word is left over
            w.decode(element + whole, run * WORD - whole, to, at + head + WORD * word + whole);
            word += run;
        }
        int done = head + WORD * length;
        w.decode(from + done, count - done, to, at + done);
    }

    /** Decodes words of one block, as far as they fill vectors. */
    private static void decodeWords(int[] words, int start, int run, float scale, float[] to, int at) {
        IntVector table0 = Nf4Lanes.table();
        IntVector table1 = Nf4Lanes.table(1, table0);
        IntVector table2 = Nf4Lanes.table(2, table0);
        IntVector table3 = Nf4Lanes.table(3, table0);
        IntVector even = Nf4Lanes.shifts(0);
        IntVector odd = Nf4Lanes.shifts(WIDTH);
        for (int e = 0; e <= run * WORD - WIDTH; e += WIDTH) {
            IntVector shifts = e % WORD == 0 ? even : odd; // with 4 lanes a word is two vectors
            IntVector codes = Nf4Lanes.spread(words, start + e / WORD, shifts);
            Nf4Lanes.values(codes, table0, table1, table2, table3).mul(scale).intoArray(to, at + e);
        }
    }
}
