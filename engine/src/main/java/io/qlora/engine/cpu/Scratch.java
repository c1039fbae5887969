package io.qlora.engine.cpu;

import java.util.Arrays;

/** A thread's heap arrays of the matrix product, kept from one to the next. */
final class Scratch {

    private static final ThreadLocal<Scratch> OF_THREAD = ThreadLocal.withInitial(Scratch::new);

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
}
