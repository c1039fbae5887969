package io.qlora.cli;

import java.io.PrintWriter;
import java.time.Duration;
import java.util.function.Consumer;
import java.util.function.LongSupplier;
import java.util.function.Supplier;

/** Ends the process when a kernel does not: the thread that waits for it in the driver cannot be interrupted. */
final class BenchWatch implements AutoCloseable {

    private final Duration patience;
    private final PrintWriter out;
    private final Runnable end;
    private final Thread thread;
    private volatile long heard = System.nanoTime();
    private volatile String doing;
    private volatile Consumer<String> last = why -> {};
    private volatile Supplier<String> kernel = () -> null;
    private volatile LongSupplier begun = () -> 0;

    /**
     * Begins to watch.
     *
     * @param patience after so long without a word, what is being done is taken for a kernel that never ends
     */
    BenchWatch(Duration patience, String doing, PrintWriter out) {
        this(patience, doing, out, () -> Runtime.getRuntime().halt(Failures.FAILED));
    }

    /** The same; {@code end} ends the process. */
    BenchWatch(Duration patience, String doing, PrintWriter out, Runnable end) {
        this.end = end;
        this.patience = patience;
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

    /**
     * Where to ask.
     *
     * @param who for the kernel that is waited for; null if that is not known
     * @param count of kernels begun: of one that never ends, no more are after a while
     */
    void ask(Supplier<String> who, LongSupplier count) {
        kernel = who;
        begun = count;
    }

    /** What is to be done with the reason before the process ends. */
    void atLast(Consumer<String> action) {
        last = action;
    }

    private void watch() {
        try {
            long before = 0;
            while (System.nanoTime() - heard < patience.toNanos()) {
                Thread.sleep(Duration.ofMillis(500));
                long now = begun.getAsLong();
                if (now != before) {
                    before = now;
                    hear();
                }
            }
        } catch (InterruptedException e) {
            return; // all is done
        }
        String name = kernel.get();
        String why = doing + (name == null ? "" : ", in the kernel " + name) + ": nothing was heard of it for "
                + patience.toSeconds() + " s, the rest was left out; --only chooses what is done, and"
                + " -Dqlora.cuda.wgmma=false does without Hopper's own instructions";
        out.println("FAILED " + why);
        try {
            last.accept(why);
        } catch (RuntimeException e) {
            out.println(e.getMessage());
        }
        out.flush();
        end.run();
    }

    /** Watches no longer. */
    @Override
    public void close() {
        thread.interrupt();
    }
}
