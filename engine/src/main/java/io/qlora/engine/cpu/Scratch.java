package io.qlora.engine.cpu;

import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;

/** Heap arrays of the matrix product, kept from one to the next: a thread's own, and packed operands, which threads share. */
final class Scratch {

    private static final ThreadLocal<Scratch> OF_THREAD = ThreadLocal.withInitial(Scratch::new);
    private static final Deque<float[]> SPARE = new ArrayDeque<>(); // for packed operands

    final PanelScratch source = PanelScratch.ofThread();
    final float[] panel = new float[MicroKernel.STRIDE * MicroKernel.COLUMNS];
    final float[] part = new float[MatMul.KC * MicroKernel.COLUMNS];
    private float[] block = new float[0];

    private Scratch() {}

    /** The calling thread's. */
    static Scratch ofThread() {
        return OF_THREAD.get();
    }

    /** At least {@code length} zeros. */
    float[] zeroBlock(int length) {
        if (block.length < length) {
            block = new float[length];
        }
        Arrays.fill(block, 0, length, 0f);
        return block;
    }

    /** At least {@code length} floats of undefined value, the caller's until given back. */
    static float[] take(int length) {
        float[] packed;
        synchronized (SPARE) {
            packed = SPARE.pollLast();
        }
        return packed != null && packed.length >= length ? packed : new float[length];
    }

    /** Gives back what was taken. */
    static void give(float[] packed) {
        synchronized (SPARE) {
            SPARE.addLast(packed);
        }
    }
}
