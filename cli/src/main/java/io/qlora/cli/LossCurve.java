package io.qlora.cli;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * A loss over the steps of a run, as it can be drawn: no more places than a picture has columns, and the line that the eye
 * would draw through its noise.
 *
 * @param places from left to right
 * @param trend for each place, the loss without noise
 */
record LossCurve(List<Place> places, double[] trend) {

    /**
     * The points of a column.
     *
     * @param step their mean step
     * @param mean their mean loss
     * @param low the lowest of them
     * @param high the highest
     */
    record Place(double step, double mean, double low, double high) {}

    /** So few points are no noise: the line goes through each. */
    static final int FEW = 20;

    /** The share of the curve, to each side, that has a say in the trend at a place. */
    private static final double SPAN = 1.0 / 20;

    /** Places to each side of one that decide together whether it is a spike. */
    private static final int NEIGHBOURS = 2;

    /** How many times farther from the middle than is usual around it a loss has to be to be out of all proportion. */
    private static final double OUTLIER = 6;

    /** The curve through {@code points}, in the order of their steps, at no more than {@code columns} places. */
    static LossCurve of(List<LossChart.Point> points, int columns) {
        List<Place> places = new ArrayList<>();
        int count = Math.min(points.size(), columns);
        for (int i = 0; i < count; i++) {
            int from = (int) ((long) i * points.size() / count);
            int to = (int) ((i + 1L) * points.size() / count);
            places.add(place(points.subList(from, to)));
        }
        double[] means = places.stream().mapToDouble(Place::mean).toArray();
        return new LossCurve(List.copyOf(places), points.size() <= FEW ? means : trend(withoutSpikes(means)));
    }

    private static Place place(List<LossChart.Point> points) {
        double[] losses = points.stream().mapToDouble(LossChart.Point::loss).toArray();
        return new Place(
                points.stream().mapToDouble(LossChart.Point::step).average().orElseThrow(),
                Arrays.stream(losses).average().orElseThrow(),
                Arrays.stream(losses).min().orElseThrow(),
                Arrays.stream(losses).max().orElseThrow());
    }

    /** Each value replaced by the median of those around it, as many on either side, which leaves a slope as it is. */
    private static double[] withoutSpikes(double[] values) {
        double[] medians = new double[values.length];
        Arrays.setAll(medians, i -> {
            int reach = Math.min(NEIGHBOURS, Math.min(i, values.length - 1 - i));
            return median(Arrays.copyOfRange(values, i - reach, i + reach + 1));
        });
        return medians;
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[sorted.length / 2];
    }

    private static int span(int places) {
        return Math.max(2, (int) Math.ceil(places * SPAN));
    }

    /**
     * At each place the value of the straight line that fits those around it best, the nearer the more: Cleveland's LOESS
     * (1979), which lags behind no slope, as a moving average does. No higher or lower than they are.
     */
    private static double[] trend(double[] values) {
        int span = span(values.length);
        double[] trend = new double[values.length];
        for (int at = 0; at < values.length; at++) {
            double weights = 0;
            double x = 0;
            double y = 0;
            double xx = 0;
            double xy = 0;
            double low = values[at];
            double high = values[at];
            for (int i = Math.max(0, at - span); i <= Math.min(values.length - 1, at + span); i++) {
                double distance = Math.abs(i - at) / (span + 1.0);
                double weight = Math.pow(1 - distance * distance * distance, 3);
                weights += weight;
                x += weight * (i - at);
                y += weight * values[i];
                xx += weight * (i - at) * (i - at);
                xy += weight * (i - at) * values[i];
                low = Math.min(low, values[i]);
                high = Math.max(high, values[i]);
            }
            // Where the curve is steep at its end, the line goes on beyond all that was measured there.
            trend[at] = Math.clamp((xx * y - x * xy) / (weights * xx - x * x), low, high);
        }
        return trend;
    }

    /** The highest loss that is not out of all proportion to those around it; 0 of an empty curve. */
    double highest() {
        double[] highs = places.stream().mapToDouble(Place::high).toArray();
        return IntStream.range(0, highs.length)
                .mapToDouble(i -> Math.max(trend[i], Math.min(highs[i], proportionate(highs, i))))
                .max()
                .orElse(0);
    }

    private static double proportionate(double[] highs, int at) {
        int span = Math.max(NEIGHBOURS, span(highs.length));
        double[] around = Arrays.copyOfRange(highs, Math.max(0, at - span), Math.min(highs.length, at + span + 1));
        double middle = median(around);
        return middle
                + OUTLIER
                        * median(Arrays.stream(around)
                                .map(v -> Math.abs(v - middle))
                                .toArray());
    }

    /** The lowest loss; positive infinity of an empty curve. */
    double lowest() {
        return places.stream().mapToDouble(Place::low).min().orElse(Double.POSITIVE_INFINITY);
    }
}
