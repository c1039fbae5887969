package io.qlora.nf4.cpu;

import io.qlora.nf4.Nf4;

/** Quantises blocks that have been widened to float32, element by element. */
final class BlockEncoder {

    private static final int BLOCK = Nf4Reader.BLOCK;
    private static final float SMALLEST = 1e-38f; // divisor, as in the reference
    private static final float[] MIDPOINTS = Nf4.midpoints();

    private BlockEncoder() {}

    /**
     * Quantises blocks, the last of which may be short.
     *
     * @param x their elements, {@code count} of them
     * @param from the first element to quantise, at the start of a block
     * @param codes a code an int, written from {@code from} on
     * @param absmax a scale a block, written from {@code from / 64} on
     */
    static void encode(float[] x, int from, int count, int[] codes, float[] absmax) {
        for (int start = from; start < count; start += BLOCK) {
            int end = Math.min(count, start + BLOCK);
            float largest = 0;
            for (int i = start; i < end; i++) {
                largest = Math.max(largest, Math.abs(x[i])); // NaN stays NaN
            }
            absmax[start / BLOCK] = largest;
            float divisor = divisor(largest);
            boolean whole = end - start == BLOCK;
            float reciprocal = 1 / divisor;
            for (int i = start; i < end; i++) {
                codes[i] = code(whole ? x[i] * reciprocal : x[i] / divisor);
            }
        }
    }

    /** What a block is divided by, given its absmax. */
    static float divisor(float absmax) {
        return Math.max(absmax, SMALLEST);
    }

    /**
     * The code of a scaled element, what lies beyond ±1 included. A NaN, which is below nothing, gets 15, as in the
     * reference.
     */
    private static int code(float x) {
        int code = 0;
        while (code < MIDPOINTS.length && !(x <= MIDPOINTS[code])) {
            code++;
        }
        return code;
    }
}
