package io.qlora.cli;

import io.qlora.trainer.TrainingRun;
import java.util.concurrent.CountDownLatch;

/**
 * Ctrl-C, and whatever else asks the process to end: has the run that is under way stop after its step, and holds the
 * process until this is closed, however long that takes, so that what was learnt is saved and told. A second Ctrl-C ends it at
 * once. While nothing has been loaded yet there is nothing to wait for.
 */
final class Interruption implements AutoCloseable {

    /** Milliseconds in which a failure on the way is still told, by those who closed this. */
    private static final long LAST_WORDS = 200;

    private final CountDownLatch done = new CountDownLatch(1);
    private final Thread hook = new Thread(this::stopAndWait, "qlora-interrupt");
    private final Reporter reporter;
    private volatile TrainingRun run;

    /** Begins to watch, without a run. */
    Interruption(Reporter reporter) {
        this.reporter = reporter;
        Runtime.getRuntime().addShutdownHook(hook);
    }

    /** From now on {@code running} has something to lose. */
    void protect(TrainingRun running) {
        run = running;
    }

    private void stopAndWait() {
        TrainingRun running = run;
        if (running == null) {
            return;
        }
        running.requestStop();
        boolean second = Signals.endAtInterrupt(TrainingSession.INTERRUPTED);
        reporter.line(
                "stopping after this step, in an evaluation at once, and saving what was learnt%s",
                second ? "%n(Ctrl-C once more ends this without saving)".formatted() : "");
        try {
            done.await();
            Thread.sleep(LAST_WORDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** Nothing is left to be done: lets the process end. */
    @Override
    public void close() {
        done.countDown();
        try {
            Runtime.getRuntime().removeShutdownHook(hook);
        } catch (IllegalStateException e) {
            // The process is being ended, the hook has run: that is what it was for.
        }
    }
}
