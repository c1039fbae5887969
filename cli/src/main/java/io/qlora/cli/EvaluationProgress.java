package io.qlora.cli;

import java.util.OptionalDouble;

/** How an evaluation goes. For one thread, but for {@link #left}. */
final class EvaluationProgress {

    private final long all;
    private final Pace pace = new Pace();
    private final long begun; // nanoseconds, as below
    private long last;
    private long tokens;

    /**
     * Nothing is done.
     *
     * @param all tokens to be read
     * @param now nanoseconds of some clock
     */
    EvaluationProgress(long all, long now) {
        this.all = all;
        this.begun = now;
        this.last = now;
    }

    /** A batch is done, so that {@code done} tokens have been read. */
    void advance(long done, long now) {
        pace.add(done - tokens, (now - last) * 1e-9);
        tokens = done;
        last = now;
    }

    long tokens() {
        return tokens;
    }

    /** Tokens to be read. */
    long all() {
        return all;
    }

    boolean isDone() {
        return tokens == all;
    }

    /** Seconds it took until now. */
    double elapsed() {
        return (last - begun) * 1e-9;
    }

    OptionalDouble tokensPerSecond() {
        return pace.amountPerSecond();
    }

    /** Seconds it will still take when {@code done} tokens have been read; empty before the second batch. */
    OptionalDouble left(long done) {
        OptionalDouble speed = pace.amountPerSecond();
        return speed.isPresent() ? OptionalDouble.of((all - done) / speed.getAsDouble()) : speed;
    }
}
