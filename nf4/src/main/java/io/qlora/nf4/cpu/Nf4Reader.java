package io.qlora.nf4.cpu;

import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.nf4.Nf4;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** A weight opened for decoding: its codes and scales, read where they lie. Safe for use by several threads. */
final class Nf4Reader {

    static final int BLOCK = Nf4Weight.BLOCK;

    /** Elements in an int of codes. */
    static final int WORD = 8;

    /** The bit of a word at which the code of each of its elements starts. */
    static final int[] SHIFTS = {4, 0, 12, 8, 20, 16, 28, 24};

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;
    private static final ValueLayout.OfByte BYTE = ValueLayout.JAVA_BYTE;
    private static final float[] VALUES = Nf4.values();

    /** Width of the layer's output. */
    final int out;

    /** Width of the layer's input. */
    final int in;

    /** Two codes a byte, the first in the high nibble. */
    final MemorySegment codes;

    private final MemorySegment absmax; // plain, or the scales of scales
    private final MemorySegment absmaxCodes; // null when plain
    private final float[] map;
    private final float offset;

    Nf4Reader(Nf4Weight w) {
        this.out = w.out();
        this.in = w.in();
        this.codes = w.codes().segment();
        switch (w.absmax()) {
            case Nf4Weight.Plain plain -> {
                this.absmax = plain.values().segment();
                this.absmaxCodes = null;
                this.map = null;
                this.offset = 0;
            }
            case Nf4Weight.Nested nested -> {
                this.absmax = nested.absmax2().segment();
                this.absmaxCodes = nested.codes().segment();
                this.map = nested.map().toFloats();
                this.offset = nested.offset();
            }
        }
    }

    /** As many ints as {@code count} elements can touch. */
    static int words(int count) {
        return count / WORD + 1;
    }

    /** The scale of a block. Product and sum are rounded one after the other, as in the reference: no fma here. */
    float scale(long block) {
        if (absmaxCodes == null) {
            return absmax.getAtIndex(FLOAT, block);
        }
        int code = absmaxCodes.get(BYTE, block) & 0xff;
        return map[code] * absmax.getAtIndex(FLOAT, block / Nf4Weight.NESTED_BLOCK) + offset;
    }

    /** Number of blocks. */
    int blocks() {
        return Math.toIntExact(((long) out * in + BLOCK - 1) / BLOCK);
    }

    /** Writes the scales of {@code count} blocks to {@code to[at]} and on. */
    void scales(long block, int count, float[] to, int at) {
        if (absmaxCodes == null) {
            MemorySegment.copy(absmax, FLOAT, 4 * block, to, at, count);
            return;
        }
        int b = 0;
        while (b < count) { // those that share a scale of scales
            long first = block + b;
            int run = Math.min(count - b, Nf4Weight.NESTED_BLOCK - (int) (first % Nf4Weight.NESTED_BLOCK));
            float absmax2 = absmax.get(FLOAT, first / Nf4Weight.NESTED_BLOCK * 4);
            nestedScales(absmaxCodes, first, run, map, absmax2, offset, to, at + b);
            b += run;
        }
    }

    private static void nestedScales(
            MemorySegment codes, long first, int count, float[] map, float absmax2, float offset, float[] to, int at) {
        for (int b = 0; b < count; b++) {
            float scale = map[codes.get(BYTE, first + b) & 0xff] * absmax2;
            to[at + b] = scale + offset; // no fma, as above
        }
    }

    /** Decodes {@code count} elements of the flattened matrix from element {@code from} on, one by one. */
    void decode(long from, int count, float[] to, int at) {
        int done = 0;
        while (done < count) {
            long i = from + done;
            int run = Math.min(count - done, BLOCK - (int) (i % BLOCK));
            float scale = scale(i / BLOCK);
            for (int j = 0; j < run; j++) {
                to[at + done + j] = VALUES[code(i + j)] * scale;
            }
            done += run;
        }
    }

    /**
     * Writes the codes of {@code count} elements from element {@code from} on, eight an int: element {@code from + e} is
     * element e of the words, wherever it lies. What is left of the last word is 0.
     */
    void stage(long from, int count, int[] to, int at) {
        int whole = count / WORD;
        if ((from & 1) == 0) {
            MemorySegment.copy(codes, INT, from / 2, to, at, whole);
        } else {
            for (int j = 0; j < whole; j++) {
                to[at + j] = oddWord(from / 2 + 4L * j);
            }
        }
        int rest = count % WORD;
        if (rest > 0) {
            int word = 0;
            for (int e = 0; e < rest; e++) {
                word |= code(from + (long) whole * WORD + e) << SHIFTS[e];
            }
            to[at + whole] = word;
        }
    }

    /** The word whose first element is in the low nibble of the byte at {@code offset}. */
    private int oddWord(long offset) {
        int upper = Integer.reverseBytes(codes.get(INT, offset)) << 4; // elements from the top down
        int last = codes.get(BYTE, offset + 4) >>> 4 & 15;
        return Integer.reverseBytes(upper | last);
    }

    private int code(long i) {
        int pair = codes.get(BYTE, i >>> 1);
        return (i & 1) == 0 ? (pair >>> 4) & 15 : pair & 15;
    }
}
