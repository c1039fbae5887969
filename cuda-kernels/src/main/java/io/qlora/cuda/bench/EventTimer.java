package io.qlora.cuda.bench;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.driver.CudaDriver;
import java.util.Arrays;
import java.util.List;

/** How long work takes on the card, between two events on its stream. */
final class EventTimer implements AutoCloseable {

    private static final int WARM_UPS = 3;
    private static final int MOST_RUNS = 50;
    private static final int FEWEST_RUNS = 5;
    private static final double BUDGET_MILLIS = 400;

    /** The times of some runs, microseconds, sorted. */
    record Times(double[] micros) {

        double median() {
            return micros[micros.length / 2];
        }

        double best() {
            return micros[0];
        }
    }

    private final CudaDevice card;
    private final long[] starts = new long[MOST_RUNS];
    private final long[] ends = new long[MOST_RUNS];

    EventTimer(CudaDevice card) {
        this.card = card;
        CudaDriver driver = card.driver();
        for (int i = 0; i < MOST_RUNS; i++) {
            starts[i] = driver.createEvent(true);
            ends[i] = driver.createEvent(true);
        }
    }

    /**
     * Times each of many runs, begun one behind the other so that the card never waits.
     *
     * @param works the same work on different memory, taken in turn, so that caches do not hold it
     */
    Times time(List<Runnable> works) {
        for (int i = 0; i < WARM_UPS; i++) {
            works.get(i % works.size()).run();
        }
        card.finish();
        int runs = runs(once(works.getFirst()));
        for (int i = 0; i < runs; i++) {
            begin(i, works.get(i % works.size()));
        }
        card.finish();
        double[] micros = new double[runs];
        for (int i = 0; i < runs; i++) {
            micros[i] = 1e3 * card.driver().elapsedMillis(starts[i], ends[i]);
        }
        Arrays.sort(micros);
        return new Times(micros);
    }

    /** Microseconds of one run. */
    double once(Runnable work) {
        begin(0, work);
        card.finish();
        return 1e3 * card.driver().elapsedMillis(starts[0], ends[0]);
    }

    private void begin(int i, Runnable work) {
        card.driver().recordEvent(starts[i], card.stream());
        work.run();
        card.driver().recordEvent(ends[i], card.stream());
    }

    private static int runs(double micros) {
        return (int) Math.clamp(1e3 * BUDGET_MILLIS / Math.max(1, micros), FEWEST_RUNS, MOST_RUNS);
    }

    @Override
    public void close() {
        for (int i = 0; i < MOST_RUNS; i++) {
            card.driver().destroyEvent(starts[i]);
            card.driver().destroyEvent(ends[i]);
        }
    }
}
