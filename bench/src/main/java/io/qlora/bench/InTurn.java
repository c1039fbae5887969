package io.qlora.bench;

import io.qlora.engine.cpu.CpuDevice;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;
import java.util.function.IntToDoubleFunction;

/**
 * Measures subjects and what they are held against in turn, in this one process: first each a little, then each a little
 * again. Whatever disturbs a shared machine for longer than a round disturbs all of them alike, so that ratios, medians of
 * those of the rounds, hold where figures of processes one after the other do not.
 *
 * @param rounds how many
 * @param milliseconds of each subject in each round
 * @param warmupMilliseconds of each subject before
 */
record InTurn(int rounds, int milliseconds, int warmupMilliseconds) {

    private static final String PEAK = "bound: FMA peak";
    private static final String BANDWIDTH = "bound: memory, update";
    private static final long REST_NANOS = 150_000_000;
    private static final double NANO = 1e-9;

    /** Each subject's seconds a run, by round. */
    private record Timed(Subject subject, Subject.Prepared prepared, double[] seconds) {

        void run(int milliseconds, int round) {
            rest();
            prepared.run();
            long start = System.nanoTime();
            long end = start + milliseconds * 1_000_000L;
            long now = start;
            int runs = 0;
            while (now < end) {
                prepared.run();
                runs++;
                now = System.nanoTime();
            }
            if (round >= 0) {
                seconds[round] = (now - start) * NANO / runs;
            }
        }
    }

    /**
     * Measures subjects that belong together.
     *
     * @param subjects each after its peer, if that is among them
     * @return the bounds, then the subjects
     */
    List<Measurement> measure(List<Subject> subjects, int threads) {
        try (CpuDevice device = new CpuDevice(threads)) {
            Map<String, Timed> all = new LinkedHashMap<>();
            try {
                for (Subject bound : List.of(widestPeak(), Catalogue.find(BANDWIDTH))) {
                    all.put(bound.name(), prepare(bound, device));
                }
                for (Subject subject : subjects) {
                    all.put(subject.name(), prepare(subject, device));
                }
                all.values().forEach(each -> each.run(warmupMilliseconds, -1));
                for (int round = 0; round < rounds; round++) {
                    for (Timed each : all.values()) {
                        each.run(milliseconds, round);
                    }
                }
                return measurements(all, threads);
            } finally {
                all.values().forEach(each -> each.prepared.close());
            }
        }
    }

    /** Lets the threads of the one before go to sleep: OpenBLAS's wait awake for a tenth of a second. */
    private static void rest() {
        LockSupport.parkNanos(REST_NANOS);
    }

    private static Subject widestPeak() {
        return Catalogue.bounds().stream()
                .filter(bound -> bound.name().startsWith(PEAK))
                .findFirst()
                .orElseThrow();
    }

    private Timed prepare(Subject subject, CpuDevice device) {
        return new Timed(subject, subject.preparation().on(device), new double[rounds]);
    }

    private static List<Measurement> measurements(Map<String, Timed> all, int threads) {
        Timed peak = all.get(widestPeak().name());
        Timed bandwidth = all.get(BANDWIDTH);
        List<Measurement> measurements = new ArrayList<>();
        for (Timed each : all.values()) {
            double flops = each.prepared.work().flops();
            double bytes = each.prepared.work().bytes();
            double seconds = median(each, round -> each.seconds[round]);
            Timed peer = all.get(each.subject.peer());
            measurements.add(new Measurement(
                    each.subject.name(),
                    threads,
                    1e6 * seconds,
                    flops / seconds * NANO,
                    bytes / seconds * NANO,
                    flops / peak.prepared.work().flops() * speed(each, peak),
                    bytes / bandwidth.prepared.work().bytes() * speed(each, bandwidth),
                    peer == null ? null : peer.subject.name(),
                    peer == null ? null : speed(each, peer)));
        }
        return measurements;
    }

    /** How many runs of {@code each} fit into the time of one of {@code peer}. */
    private static double speed(Timed each, Timed peer) {
        return median(each, round -> peer.seconds[round] / each.seconds[round]);
    }

    private static double median(Timed timed, IntToDoubleFunction ofRound) {
        double[] values = new double[timed.seconds.length];
        Arrays.setAll(values, ofRound);
        Arrays.sort(values);
        int middle = values.length / 2;
        return values.length % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
    }
}
