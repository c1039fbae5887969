package io.qlora.cuda.kernels;

import io.qlora.cuda.driver.CudaDriver.Shape;

/** Extents of launches. */
final class Launches {

    /** Threads in a block of all kernels that do not say otherwise. */
    static final int THREADS = 256;

    private static final int ELEMENTS = 8; // a thread

    private Launches() {}

    /** A block a row. */
    static Shape rows(long rows) {
        return Shape.of(Math.toIntExact(rows), THREADS);
    }

    /** A thread for every eight of {@code n} elements. */
    static Shape eights(long n) {
        return threads((n + ELEMENTS - 1) / ELEMENTS);
    }

    /** At least {@code n} threads. */
    static Shape threads(long n) {
        return Shape.of(Math.toIntExact((n + THREADS - 1) / THREADS), THREADS);
    }
}
