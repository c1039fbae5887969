package io.qlora.nf4;

/** How much heap a computation allocates: what one that must stay small is held to. */
final class Allocation {

    private static final long PATIENCE = 60_000_000_000L; // ns

    private Allocation() {}

    /**
     * The least that this thread allocates in a run of {@code task}, in bytes, of as many runs as it takes to be no more
     * than {@code enough}: before it is compiled, vector code allocates its every value.
     */
    static long least(long enough, Runnable task) {
        long end = System.nanoTime() + PATIENCE;
        long least = Long.MAX_VALUE;
        while (least > enough && System.nanoTime() < end) {
            long before = ofThisThread();
            task.run();
            least = Math.min(least, ofThisThread() - before);
        }
        return least;
    }

    /** Bytes that this thread has ever allocated. By reflection: the module under test does not read the JDK's management. */
    private static long ofThisThread() {
        try {
            Object threads = Class.forName("java.lang.management.ManagementFactory")
                    .getMethod("getThreadMXBean")
                    .invoke(null);
            return (long) Class.forName("com.sun.management.ThreadMXBean")
                    .getMethod("getCurrentThreadAllocatedBytes")
                    .invoke(threads);
        } catch (ReflectiveOperationException e) {
            throw new AssertionError(e);
        }
    }
}
