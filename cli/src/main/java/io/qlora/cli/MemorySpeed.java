package io.qlora.cli;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.stream.IntStream;

/** How fast this machine copies memory, in a few tenths of a second: what bounds a model that is read once a token. */
final class MemorySpeed {

    /** Of each processor's block; far more than caches hold. */
    private static final long BYTES = 32L << 20;

    private static final int ROUNDS = 3;

    private MemorySpeed() {}

    /** Bytes a second that all processors together read, and write again; the best of a few rounds. */
    static double measure(int processors) {
        int threads = Math.min(processors, 4); // a few saturate it, and take a quarter of a gibibyte
        double best = 0;
        try (Arena arena = Arena.ofShared()) {
            MemorySegment from = arena.allocate(threads * BYTES);
            MemorySegment to = arena.allocate(threads * BYTES);
            for (int round = 0; round < ROUNDS; round++) {
                long start = System.nanoTime();
                IntStream.range(0, threads)
                        .parallel()
                        .forEach(i -> MemorySegment.copy(from, i * BYTES, to, i * BYTES, BYTES));
                best = Math.max(best, threads * BYTES / ((System.nanoTime() - start) * 1e-9));
            }
        }
        return best;
    }
}
