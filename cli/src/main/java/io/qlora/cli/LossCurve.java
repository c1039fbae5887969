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
    private static final double SPAN = 1.0 / 12;

    /** How many times farther from the trend than is usual a loss has to be to count for nothing. */
    private static final double OUTLIER = 6;

    /** How often the outliers are looked for again, once those that were found no longer bend the trend. */
    private static final int ROUNDS = 3;

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
        return new LossCurve(List.copyOf(places), points.size() <= FEW ? means : trend(means));
    }

    private static Place place(List<LossChart.Point> points) {
        double[] losses = points.stream().mapToDouble(LossChart.Point::loss).toArray();
        return new Place(
                points.stream().mapToDouble(LossChart.Point::step).average().orElseThrow(),
                Arrays.stream(losses).average().orElseThrow(),
                Arrays.stream(losses).min().orElseThrow(),
                Arrays.stream(losses).max().orElseThrow());
    }

    /**
     * At each place the value of the straight line that fits those around it best, the nearer the more, and those far off
     * the less: Cleveland's robust LOESS (1979), which lags behind no slope, as a moving average does, and ignores spikes.
     */
    private static double[] trend(double[] values) {
        double[] say = new double[values.length];
        Arrays.fill(say, 1);
        double[] trend = fit(values, say);
        for (int round = 0; round < ROUNDS; round++) {
            double usual = usual(values, trend);
            for (int i = 0; i < values.length && usual > 0; i++) {
                double far = Math.min(1, Math.abs(values[i] - trend[i]) / (OUTLIER * usual));
                say[i] = (1 - far * far) * (1 - far * far);
            }
            trend = fit(values, say);
        }
        return trend;
    }

    private static double[] fit(double[] values, double[] say) {
        int span = Math.max(2, (int) Math.ceil(values.length * SPAN));
        double[] fitted = new double[values.length];
        for (int at = 0; at < values.length; at++) {
            double weights = 0;
            double x = 0;
            double y = 0;
            double xx = 0;
            double xy = 0;
            for (int i = Math.max(0, at - span); i <= Math.min(values.length - 1, at + span); i++) {
                double distance = Math.abs(i - at) / (span + 1.0);
                double weight = say[i] * Math.pow(1 - distance * distance * distance, 3);
                weights += weight;
                x += weight * (i - at);
                y += weight * values[i];
                xx += weight * (i - at) * (i - at);
                xy += weight * (i - at) * values[i];
            }
            double spread = weights * xx - x * x;
            fitted[at] = spread == 0 ? values[at] : (xx * y - x * xy) / spread;
        }
        return fitted;
    }

    /** The median distance of values from their trend. */
    private static double usual(double[] values, double[] trend) {
        return IntStream.range(0, values.length)
                .mapToDouble(i -> Math.abs(values[i] - trend[i]))
                .sorted()
                .skip(values.length / 2)
                .findFirst()
                .orElse(0);
    }

    /** The highest loss that is no outlier; 0 of an empty curve. */
    double highest() {
        double[] highs = places.stream().mapToDouble(Place::high).toArray();
        double usual = usual(highs, trend);
        return IntStream.range(0, highs.length)
                .mapToDouble(i -> Math.max(trend[i], Math.min(highs[i], trend[i] + OUTLIER * usual)))
                .max()
                .orElse(0);
    }

    /** The lowest loss; positive infinity of an empty curve. */
    double lowest() {
        return places.stream().mapToDouble(Place::low).min().orElse(Double.POSITIVE_INFINITY);
    }
}
