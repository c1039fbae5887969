package io.qlora.cli;

import java.io.PrintWriter;
import java.time.Duration;
import java.util.function.Consumer;

/** Ends the process when a kernel does not: the thread that waits for it in the driver cannot be interrupted. */
final class BenchWatch implements AutoCloseable {

    /** After so long without a word, what is being done is taken for a kernel that never ends. */
    private static final Duration PATIENCE = Duration.ofMinutes(2);

    private final PrintWriter out;
    private final Thread thread;
    private volatile long heard = System.nanoTime();
    private volatile String doing;
    private volatile Consumer<String> last = why -> {};

    /** Begins to watch. */
    BenchWatch(String doing, PrintWriter out) {
        this.doing = doing;
        this.out = out;
        this.thread = Thread.ofPlatform().daemon().name("qlora-bench-watch").unstarted(this::watch);
        thread.start();
    }

    /** Told of every sign of life. */
    void hear() {
        heard = System.nanoTime();
    }

    /** Told of what is begun. */
    void begin(String what) {
        hear();
        doing = what;
    }

    /** What is to be done with the reason before the process ends. */
    void atLast(Consumer<String> action) {
        last = action;
    }

    private void watch() {
        try {
            while (System.nanoTime() - heard < PATIENCE.toNanos()) {
                Thread.sleep(Duration.ofSeconds(1));
            }
        } catch (InterruptedException e) {
            return; // all is done
        }
        String why = doing + ": nothing was heard of it for " + PATIENCE.toMinutes()
                + " minutes, the rest was left out; --only chooses what is done, and"
                + " -Dqlora.cuda.wgmma=false does without Hopper's own instructions";
        out.println("FAILED " + why);
        try {
            last.accept(why);
        } catch (RuntimeException e) {
            out.println(e.getMessage());
        }
        out.flush();
        Runtime.getRuntime().halt(Failures.FAILED);
    }

    /** Watches no longer. */
    @Override
    public void close() {
        thread.interrupt();
    }
}
