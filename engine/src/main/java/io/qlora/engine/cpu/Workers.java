package io.qlora.engine.cpu;

import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.locks.LockSupport;

/**
 * The threads of a CPU device: the caller and {@code threads − 1} helpers that claim the tasks of one job from a counter.
 * Completion is counted in tasks, not in threads, so that a helper the system has descheduled before it claimed anything
 * delays nobody. Which thread runs a task is left to chance; what a task computes must not depend on it.
 *
 * <p>A caller that finds the helpers at work for somebody else, or is itself inside a task, runs its tasks alone.
 */
public final class Workers implements AutoCloseable {

    /** One piece of a job. */
    @FunctionalInterface
    public interface Task {
        void run(int index);
    }

    private static final class Job {
        final Task task;
        final int count;
        final AtomicInteger next = new AtomicInteger();
        final AtomicInteger done = new AtomicInteger();
        volatile Throwable failure;

        Job(Task task, int count) {
            this.task = task;
            this.count = count;
        }

        void drain() {
            int index;
            while ((index = next.getAndIncrement()) < count) {
                try {
                    if (failure == null) {
                        task.run(index);
                    }
                } catch (Throwable e) {
                    failure = e;
                } finally {
                    done.incrementAndGet();
                }
            }
        }
    }

    /** Rounds of waiting awake: some tens of microseconds, what passes between two ops of a step. */
    private static final int SPINS = 20_000;

    private final int threads;
    private final Thread[] helpers;
    private final AtomicReference<Job> current = new AtomicReference<>();
    private final ThreadLocal<Boolean> inside = ThreadLocal.withInitial(() -> false);
    private volatile boolean closed;

    /**
     * Starts the helpers.
     *
     * @param threads how many threads compute, the caller included; at least 1
     */
    public Workers(int threads) {
        if (threads < 1) {
            throw new IllegalArgumentException("threads should be at least 1, found " + threads);
        }
        this.threads = threads;
        this.helpers = new Thread[threads - 1];
        for (int i = 0; i < helpers.length; i++) {
            helpers[i] =
                    Thread.ofPlatform().name("qlora-worker-" + (i + 1)).daemon().unstarted(this::help);
            helpers[i].start();
        }
    }

    /** How many threads compute, the caller included. */
    public int threads() {
        return threads;
    }

    /**
     * Runs tasks {@code 0} to {@code count − 1} and returns when all are done.
     *
     * @throws RuntimeException or Error: the first that a task threw; tasks not yet begun are then skipped
     */
    public void run(int count, Task task) {
        if (count <= 0) {
            return;
        }
        Job job = new Job(task, count);
        boolean shared = count > 1 && helpers.length > 0 && !inside.get() && current.compareAndSet(null, job);
        if (shared) {
            for (Thread helper : helpers) {
                LockSupport.unpark(helper);
            }
        }
        boolean outer = inside.get();
        inside.set(true);
        try {
            job.drain();
            while (job.done.get() < count) {
                Thread.onSpinWait();
            }
        } finally {
            inside.set(outer);
            if (shared) {
                current.set(null);
            }
        }
        rethrow(job.failure);
    }

    private static void rethrow(Throwable failure) {
        switch (failure) {
            case null -> {}
            case Error error -> throw error;
            case RuntimeException exception -> throw exception;
            default -> throw new IllegalStateException(failure);
        }
    }

    private void help() {
        inside.set(true);
        Job last = null;
        int spins = 0;
        while (!closed) {
            Job job = current.get();
            if (job != null && job != last) {
                job.drain();
                last = job;
                spins = 0;
            } else if (++spins < SPINS) {
                Thread.onSpinWait();
            } else {
                LockSupport.park(this);
                spins = 0;
            }
        }
    }

    /** Ends the helpers. */
    @Override
    public void close() {
        closed = true;
        for (Thread helper : helpers) {
            LockSupport.unpark(helper);
        }
    }
}
