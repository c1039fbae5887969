package io.qlora.cuda.bench;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.Workspace;
import io.qlora.cuda.driver.CudaDriver;
import java.util.Arrays;
import java.util.List;

/** How long work takes on the card, between two events on its stream. */
final class EventTimer implements AutoCloseable {

    private static final int WARM_UPS = 3;
    static final double WARM_UP_MILLIS = 20; // at least: for the clock to rise, and for Java to be compiled
    private static final int MOST_RUNS = 50;
    private static final int FEWEST_RUNS = 5;
    private static final double BUDGET_MILLIS = 400;
    private static final double LEAST_MICROS = 100; // between two events: shorter work is done several times there
    private static final int MOST_AT_ONCE = 16;
    private static final double HOST_SLOWER = 1.5; // than it was seen to be, to be sure that it keeps ahead
    private static final int FILLS = 8; // to see how long one takes
    private static final int MOST_FILLS = 400; // below what a driver queues, with what comes after
    private static final int SHARE = 512; // of the card's memory, that is filled

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
    private final Workspace room;
    private final double fillMicros; // 0: the card is not kept busy

    EventTimer(CudaDevice card) {
        this.card = card;
        CudaDriver driver = card.driver();
        for (int i = 0; i < MOST_RUNS; i++) {
            starts[i] = driver.createEvent(true);
            ends[i] = driver.createEvent(true);
        }
        room = new Workspace(card);
        fillMicros = room.reserve(driver.totalMemory(card.ordinal()) / SHARE) == 0 ? 0 : fillMicros();
    }

    private double fillMicros() {
        fill(FILLS);
        begin(0, () -> fill(FILLS));
        card.finish();
        return elapsed(0) / FILLS;
    }

    private void fill(int times) {
        for (int i = 0; i < times; i++) {
            card.driver().fill(room.reserve(room.size()), (byte) 0, room.size(), card.stream());
        }
    }

    /**
     * Times each of many runs, begun one behind the other so that the card never waits.
     *
     * @param works the same work on different memory, taken in turn, so that caches do not hold it
     */
    Times time(List<Runnable> works) {
        return time(works, WARM_UP_MILLIS);
    }

    /** The same, after the card has done this work for so long. */
    Times time(List<Runnable> works, double warmUpMillis) {
        long begun = System.nanoTime();
        for (int i = 0; i < WARM_UPS || 1e-6 * (System.nanoTime() - begun) < warmUpMillis; i++) {
            works.get(i % works.size()).run();
            card.finish();
        }
        long before = System.nanoTime();
        begin(0, works.getFirst());
        double host = 1e-3 * (System.nanoTime() - before) * HOST_SLOWER;
        card.finish();
        keepBusy(host);
        begin(0, works.getFirst());
        card.finish();
        double once = elapsed(0);
        int atOnce = once == 0 ? 1 : (int) Math.clamp(Math.ceil(LEAST_MICROS / once), 1, MOST_AT_ONCE);
        int runs = (int) Math.clamp(1e3 * BUDGET_MILLIS / Math.max(1, atOnce * once), FEWEST_RUNS, MOST_RUNS);
        keepBusy(runs * atOnce * (host - once));
        for (int i = 0; i < runs; i++) {
            int first = i * atOnce;
            begin(i, () -> {
                for (int k = 0; k < atOnce; k++) {
                    works.get((first + k) % works.size()).run();
                }
            });
        }
        card.finish();
        double[] micros = new double[runs];
        for (int i = 0; i < runs; i++) {
            micros[i] = elapsed(i) / atOnce;
        }
        Arrays.sort(micros);
        return new Times(micros);
    }

    /** Gives the card something to do for so long, so that the host, which is slower for small kernels, is ahead of it. */
    private void keepBusy(double micros) {
        if (fillMicros > 0 && micros > 0) {
            fill((int) Math.min(MOST_FILLS, Math.ceil(micros / fillMicros)));
        }
    }

    private void begin(int i, Runnable work) {
        card.driver().recordEvent(starts[i], card.stream());
        work.run();
        card.driver().recordEvent(ends[i], card.stream());
    }

    private double elapsed(int i) {
        return 1e3 * card.driver().elapsedMillis(starts[i], ends[i]);
    }

    @Override
    public void close() {
        for (int i = 0; i < MOST_RUNS; i++) {
            card.driver().destroyEvent(starts[i]);
            card.driver().destroyEvent(ends[i]);
        }
        room.close();
    }
}
