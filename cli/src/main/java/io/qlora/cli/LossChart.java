package io.qlora.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/**
 * The picture of a run: training and evaluation loss over optimizer steps, as SVG text. Written directly, since every
 * plotting library for the JVM measures its texts through AWT, which fails on a server that has no fonts.
 */
final class LossChart {

    /** A value at an optimizer step. */
    record Point(double step, double loss) {}

    private static final int WIDTH = 800;
    private static final int HEIGHT = 450;
    private static final int LEFT = 64;
    private static final int RIGHT = 24;
    private static final int TOP = 48;
    private static final int BOTTOM = 52;
    private static final String TRAINING = "#2563eb";
    private static final String EVALUATION = "#dc2626";

    private final List<Point> training;
    private final List<Point> evaluation;
    private final double maxStep;
    private final double minLoss;
    private final double maxLoss;
    private final double stepTick;
    private final double lossTick;
    private final StringBuilder svg = new StringBuilder(16_384);

    private LossChart(List<Point> training, List<Point> evaluation) {
        this.training = finite(training);
        this.evaluation = finite(evaluation);
        List<Point> all = new ArrayList<>(this.training);
        all.addAll(this.evaluation);
        double low = all.stream().mapToDouble(Point::loss).min().orElse(0);
        double high = all.stream().mapToDouble(Point::loss).max().orElse(1);
        this.lossTick = tick(Math.max(high - low, 1e-3), 6);
        this.minLoss = Math.floor(low / lossTick) * lossTick;
        this.maxLoss = Math.max(Math.ceil(high / lossTick) * lossTick, minLoss + lossTick);
        this.maxStep = Math.max(1, all.stream().mapToDouble(Point::step).max().orElse(1));
        this.stepTick = Math.max(1, tick(maxStep, 8));
    }

    /**
     * Draws a run. Values that are not finite are left out.
     *
     * @param title one line
     * @param training loss by step
     * @param evaluation loss by step, perhaps none
     */
    static String draw(String title, List<Point> training, List<Point> evaluation) {
        return new LossChart(training, evaluation).draw(title);
    }

    private static List<Point> finite(List<Point> points) {
        return points.stream().filter(p -> Double.isFinite(p.loss)).toList();
    }

    /** A round distance, 1, 2 or 5 times a power of ten, that divides {@code range} into at most {@code most} parts. */
    private static double tick(double range, int most) {
        double power = Math.pow(10, Math.floor(Math.log10(range / most)));
        for (double factor : new double[] {1, 2, 5}) {
            if (range / (factor * power) <= most) {
                return factor * power;
            }
        }
        return 10 * power;
    }

    private String draw(String title) {
        svg.append(String.format(
                Locale.ROOT,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\""
                        + " font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\" fill=\"#374151\">%n",
                WIDTH,
                HEIGHT,
                WIDTH,
                HEIGHT));
        svg.append("<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n");
        text(LEFT, 26, "start", "font-size=\"15\" font-weight=\"bold\"", title);
        axes();
        if (training.size() > 20) {
            line(training, TRAINING, "stroke-width=\"1\" stroke-opacity=\"0.35\"");
            line(smoothed(), TRAINING, "stroke-width=\"2\"");
        } else {
            line(training, TRAINING, "stroke-width=\"2\"");
        }
        line(evaluation, EVALUATION, "stroke-width=\"2\"");
        for (Point point : evaluation) {
            svg.append(String.format(
                    Locale.ROOT,
                    "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>%n",
                    x(point),
                    y(point),
                    EVALUATION));
        }
        legend();
        return svg.append("</svg>\n").toString();
    }

    private void axes() {
        for (int i = 0; minLoss + i * lossTick <= maxLoss + lossTick / 2; i++) {
            double loss = minLoss + i * lossTick;
            double y = y(new Point(0, loss));
            svg.append(String.format(
                    Locale.ROOT,
                    "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#e5e7eb\"/>%n",
                    LEFT,
                    y,
                    WIDTH - RIGHT,
                    y));
            int digits = Math.max(0, (int) Math.ceil(-Math.log10(lossTick) - 1e-9));
            text(LEFT - 8, y + 4, "end", "", String.format(Locale.ROOT, "%." + digits + "f", loss));
        }
        for (double step = 0; step <= maxStep + 1e-9; step += stepTick) {
            text(x(new Point(step, 0)), HEIGHT - BOTTOM + 18, "middle", "", String.format(Locale.ROOT, "%.0f", step));
        }
        svg.append(String.format(
                Locale.ROOT,
                "<path d=\"M%d %d V%d H%d\" fill=\"none\" stroke=\"#9ca3af\"/>%n",
                LEFT,
                TOP,
                HEIGHT - BOTTOM,
                WIDTH - RIGHT));
        text((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 12, "middle", "", "optimizer step");
        text(
                16,
                (TOP + HEIGHT - BOTTOM) / 2.0,
                "middle",
                "transform=\"rotate(-90 16 " + (TOP + HEIGHT - BOTTOM) / 2 + ")\"",
                "loss, nats per target token");
    }

    /** The exponential moving average that the eye would draw, corrected for its start. */
    private List<Point> smoothed() {
        double keep = 1 - Math.min(1, 10.0 / training.size());
        List<Point> points = new ArrayList<>(training.size());
        double sum = 0;
        double weight = 0;
        for (Point point : training) {
            sum = keep * sum + (1 - keep) * point.loss;
            weight = keep * weight + (1 - keep);
            points.add(new Point(point.step, sum / weight));
        }
        return points;
    }

    private void line(List<Point> points, String colour, String style) {
        if (points.isEmpty()) {
            return;
        }
        svg.append("<polyline fill=\"none\" stroke=\"")
                .append(colour)
                .append("\" ")
                .append(style)
                .append(" points=\"");
        for (Point point : points) {
            svg.append(String.format(Locale.ROOT, "%.1f,%.1f ", x(point), y(point)));
        }
        svg.append("\"/>\n");
    }

    private void legend() {
        double x = WIDTH - RIGHT - 8;
        if (!training.isEmpty()) {
            key(x, TOP + 14, TRAINING, last("training", training));
        }
        if (!evaluation.isEmpty()) {
            key(x, TOP + 32, EVALUATION, last("evaluation", evaluation));
        }
    }

    private static String last(String name, List<Point> points) {
        return String.format(Locale.ROOT, "%s, %.3f \u2192 %.3f", name, points.getFirst().loss, points.getLast().loss);
    }

    private void key(double x, double y, String colour, String text) {
        text(x, y, "end", "style=\"fill:" + colour + "\" font-weight=\"bold\"", text);
    }

    private void text(double x, double y, String anchor, String style, String text) {
        String escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;");
        svg.append(String.format(
                Locale.ROOT,
                "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" %s>%s</text>%n",
                x,
                y,
                anchor,
                style,
                escaped));
    }

    private double x(Point point) {
        return LEFT + point.step / maxStep * (WIDTH - LEFT - RIGHT);
    }

    private double y(Point point) {
        return HEIGHT - BOTTOM - (point.loss - minLoss) / (maxLoss - minLoss) * (HEIGHT - TOP - BOTTOM);
    }
}
