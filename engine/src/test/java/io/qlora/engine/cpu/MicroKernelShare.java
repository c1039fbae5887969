package io.qlora.engine.cpu;

import io.qlora.engine.ops.testing.FmaPeak;

/**
 * What {@link MicroKernel} reaches of the FMA peak. On a machine that is shared only short pieces of time are undisturbed, so
 * many of a millisecond or less are taken, of the peak and of the kernel in turn, and the best of each is compared.
 */
final class MicroKernelShare {

    private static final int DEPTH = MatMul.KC;
    private static final int TILES = 96; // as many as share a panel in a large product
    private static final int PEAK_STEPS = 20_000;
    private static final int ROUNDS = 1000; // at least: the compiler is done after the first hundreds

    private MicroKernelShare() {}

    /**
     * Measures.
     *
     * @param enough the share at which it is done
     * @param patience nanoseconds after which it is done, too
     */
    static double best(double enough, long patience) {
        float[] a = new float[TILES * MicroKernel.ROWS * MicroKernel.STRIDE];
        float[] b = new float[MicroKernel.COLUMNS * DEPTH];
        float[] c = new float[TILES * MicroKernel.ROWS * MicroKernel.COLUMNS];
        double kernelFlops = 2.0 * TILES * MicroKernel.ROWS * MicroKernel.COLUMNS * DEPTH;
        double kernel = 0;
        double peak = 0;
        float used = 0;
        long start = System.nanoTime();
        for (int round = 1; System.nanoTime() - start < patience; round++) {
            long t0 = System.nanoTime();
            used += FmaPeak.run(PEAK_STEPS);
            long t1 = System.nanoTime();
            multiply(a, b, c);
            long t2 = System.nanoTime();
            peak = Math.max(peak, FmaPeak.flops(PEAK_STEPS) / (t1 - t0));
            kernel = Math.max(kernel, kernelFlops / (t2 - t1));
            if (round >= ROUNDS && kernel >= enough * peak) {
                break;
            }
        }
        if (!Float.isFinite(used) || c[0] != 0) {
            throw new IllegalStateException("the sums are " + used + " and " + c[0]);
        }
        return kernel / peak;
    }

    private static void multiply(float[] a, float[] b, float[] c) {
        for (int tile = 0; tile < TILES; tile++) {
            int row = tile * MicroKernel.ROWS;
            MicroKernel.multiply(DEPTH, a, row * MicroKernel.STRIDE, b, 0, c, row * MicroKernel.COLUMNS);
        }
    }

    /** In a process of its own: prints the share, given what is enough and how long to try. */
    public static void main(String[] args) {
        System.out.println(best(Double.parseDouble(args[0]), Long.parseLong(args[1])));
    }
}
