package io.qlora.cuda.bench;

/**
 * The sizes that a kernel is checked or measured at.
 *
 * @param tokens T
 * @param heads H
 * @param kvHeads K
 * @param headSize D; the width C is H·D
 * @param feedForward F
 * @param vocabulary V
 * @param rank R
 * @param slots trained tensors
 */
record Size(int tokens, int heads, int kvHeads, int headSize, int feedForward, int vocabulary, int rank, int slots) {

    /** Odd, so that every loop has a tail; and small, so that the emulation of a card gets through. */
    static final Size SMALL = new Size(37, 4, 2, 32, 200, 301, 8, 3);

    /** Several tiles of every kind of tile, and a part of one. */
    static final Size MEDIUM = new Size(328, 8, 2, 128, 1864, 2003, 16, 5);

    /** Tiles of products enough for a large card: fewer are left to kernels for small operands. */
    static final Size WIDE = new Size(1100, 16, 4, 128, 2504, 2003, 16, 5);

    /** Of Llama-3-8B. */
    static final Size LARGE = new Size(4096, 32, 8, 128, 14336, 128_256, 16, 64);

    /** C. */
    int width() {
        return heads * headSize;
    }

    /** K·D. */
    int kvWidth() {
        return kvHeads * headSize;
    }

    /** The same with another number of tokens. */
    Size withTokens(int count) {
        return new Size(count, heads, kvHeads, headSize, feedForward, vocabulary, rank, slots);
    }

    /** The same with heads of another size. */
    Size withHeadSize(int size) {
        return new Size(tokens, heads, kvHeads, size, feedForward, vocabulary, rank, slots);
    }
}
