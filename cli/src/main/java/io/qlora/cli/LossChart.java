package io.qlora.cli;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * The picture of a run: training and evaluation loss over optimizer steps, as SVG text. Written directly, since every
 * plotting library for the JVM measures its texts through AWT, which fails on a server that has no fonts.
 */
final class LossChart {

    /** A value at an optimizer step. */
    record Point(double step, double loss) {}

    /** Values from {@code min} to {@code max} along an axis, with a tick at each multiple of {@code tick}. */
    private record Axis(double min, double max, double tick) {

        /** An axis that ends at ticks. */
        static Axis around(double low, double high, int ticks) {
            double tick = tick(high - low, ticks);
            return new Axis(Math.floor(low / tick) * tick, Math.ceil(high / tick) * tick, tick);
        }

        /** A round distance, 1, 2 or 5 times a power of ten, that divides {@code range} into at most {@code most} parts. */
        static double tick(double range, int most) {
            double power = Math.pow(10, Math.floor(Math.log10(range / most)));
            for (double factor : new double[] {1, 2, 5}) {
                if (range / (factor * power) <= most) {
                    return factor * power;
                }
            }
            return 10 * power;
        }

        /** From 0 at its beginning to 1 at its end. */
        double share(double value) {
            return (value - min) / (max - min);
        }

        double[] ticks() {
            int count = (int) Math.floor((max - min) / tick + 1e-9) + 1;
            double[] ticks = new double[count];
            Arrays.setAll(ticks, i -> min + i * tick);
            return ticks;
        }

        String label(double value) {
            int digits = Math.max(0, (int) Math.ceil(-Math.log10(tick) - 1e-9));
            return String.format(Locale.ROOT, "%,." + digits + "f", value);
        }
    }

    private static final int WIDTH = 800;
    private static final int HEIGHT = 450;
    private static final int LEFT = 68;
    private static final int RIGHT = 28;
    private static final int TOP = 52;
    private static final int BOTTOM = 52;
    private static final String TRAINING = "#2563eb";
    private static final String EVALUATION = "#c2410c";
    private static final int LONGEST_TITLE = 56;

    /** The least that a picture spans, as a share of its highest loss: what is flat is to look flat. */
    private static final double FLATTEST = 0.1;

    private final LossCurve training;
    private final List<Point> evaluation;
    private final Axis steps;
    private final Axis losses;
    private final StringBuilder svg = new StringBuilder(16_384);

    private LossChart(List<Point> training, List<Point> evaluation) {
        this.training = LossCurve.of(training, WIDTH - LEFT - RIGHT);
        this.evaluation = evaluation;
        double last = Stream.concat(training.stream(), evaluation.stream())
                .mapToDouble(Point::step)
                .max()
                .orElse(1);
        this.steps = new Axis(0, Math.max(1, last), Math.max(1, Axis.tick(Math.max(1, last), 8)));
        this.losses = lossAxis();
    }

    private Axis lossAxis() {
        double[] measured = evaluation.stream().mapToDouble(Point::loss).toArray();
        double low = Math.min(training.lowest(), Arrays.stream(measured).min().orElse(Double.POSITIVE_INFINITY));
        double high = Math.max(training.highest(), Arrays.stream(measured).max().orElse(0));
        if (low > high) { // nothing at all
            return new Axis(0, 1, 1);
        }
        double widen = Math.max(0, Math.max(FLATTEST * high, 1e-6) - (high - low)) / 2;
        return Axis.around(Math.max(0, low - widen), high + widen, 6);
    }

    /**
     * Draws a run. Values that are not finite are left out.
     *
     * @param title one line
     * @param training loss by step, rising
     * @param evaluation loss by step, perhaps none
     */
    static String draw(String title, List<Point> training, List<Point> evaluation) {
        return new LossChart(finite(training), finite(evaluation)).draw(title);
    }

    private static List<Point> finite(List<Point> points) {
        return points.stream().filter(p -> Double.isFinite(p.loss)).toList();
    }

    private String draw(String title) {
        append(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\""
                        + " font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\" fill=\"#374151\">",
                WIDTH, HEIGHT, WIDTH, HEIGHT);
        append("<title>%s: loss over optimizer steps</title>", escape(title));
        append("<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>");
        String shown = title.length() <= LONGEST_TITLE ? title : title.substring(0, LONGEST_TITLE - 1) + "…";
        text(LEFT, 28, "start", "font-size=\"15\" font-weight=\"bold\"", shown);
        axes();
        append(
                "<clipPath id=\"plot\"><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\"/></clipPath>",
                LEFT - 5, TOP - 5, WIDTH - RIGHT - LEFT + 10, HEIGHT - BOTTOM - TOP + 10);
        append("<g clip-path=\"url(#plot)\" fill=\"none\" stroke-width=\"2\" stroke-linejoin=\"round\">");
        drawTraining();
        if (evaluation.size() > 1) {
            line(evaluation, "stroke=\"" + EVALUATION + "\"");
        }
        dots(evaluation, EVALUATION);
        append("</g>");
        legend();
        append("</svg>");
        return svg.toString();
    }

    private void drawTraining() {
        List<LossCurve.Place> places = training.places();
        List<Point> trend = IntStream.range(0, places.size())
                .mapToObj(i -> new Point(places.get(i).step(), training.trend()[i]))
                .toList();
        if (places.size() <= LossCurve.FEW) {
            dots(trend, TRAINING);
        } else {
            List<Point> noise = places.stream()
                    .flatMap(p -> p.low() == p.high()
                            ? Stream.of(new Point(p.step(), p.low()))
                            : Stream.of(new Point(p.step(), p.low()), new Point(p.step(), p.high())))
                    .toList();
            line(noise, "stroke=\"" + TRAINING + "\" stroke-width=\"1\" stroke-opacity=\"0.3\"");
        }
        if (places.size() > 1) {
            line(trend, "stroke=\"" + TRAINING + "\"");
        }
    }

    private void axes() {
        for (double loss : losses.ticks()) {
            double y = y(loss);
            append("<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"#e5e7eb\"/>", LEFT, y, WIDTH - RIGHT, y);
            text(LEFT - 8, y + 4, "end", "", losses.label(loss));
        }
        for (double step : steps.ticks()) {
            double x = x(step);
            append(
                    "<line x1=\"%.1f\" y1=\"%d\" x2=\"%.1f\" y2=\"%d\" stroke=\"#9ca3af\"/>",
                    x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 4);
            text(x, HEIGHT - BOTTOM + 18, "middle", "", steps.label(step));
        }
        append(
                "<path d=\"M%d %dV%dH%d\" fill=\"none\" stroke=\"#9ca3af\"/>",
                LEFT, TOP, HEIGHT - BOTTOM, WIDTH - RIGHT);
        text((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 12, "middle", "", "optimizer step");
        double middle = (TOP + HEIGHT - BOTTOM) / 2.0;
        String turned = String.format(Locale.ROOT, "transform=\"rotate(-90 16 %.1f)\"", middle);
        text(16, middle, "middle", turned, "loss, nats per target token");
    }

    private void legend() {
        double[] trend = training.trend();
        if (trend.length > 0) {
            key(22, TRAINING, "training", trend[0], trend[trend.length - 1]);
        }
        if (!evaluation.isEmpty()) {
            key(
                    trend.length == 0 ? 22 : 40,
                    EVALUATION,
                    "evaluation",
                    evaluation.getFirst().loss,
                    evaluation.getLast().loss);
        }
    }

    private void key(double y, String colour, String name, double first, double last) {
        String text = name + " " + significant(first) + (first == last ? "" : " → " + significant(last));
        text(WIDTH - RIGHT, y, "end", "style=\"fill:" + colour + "\" font-weight=\"bold\"", text);
    }

    /** With three digits behind the point, or as many as it takes to show two that are not zero. */
    private static String significant(double loss) {
        int digits = loss <= 0 ? 3 : Math.max(3, (int) Math.ceil(1 - Math.log10(loss)));
        return String.format(Locale.ROOT, "%." + Math.min(digits, 9) + "f", loss);
    }

    private void line(List<Point> points, String style) {
        StringBuilder coordinates = new StringBuilder();
        for (Point point : points) {
            coordinates.append(String.format(Locale.ROOT, " %.1f,%.1f", x(point.step), y(point.loss)));
        }
        append("<polyline %s points=\"%s\"/>", style, coordinates.substring(1));
    }

    private void dots(List<Point> points, String colour) {
        for (Point point : points) {
            append("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>", x(point.step), y(point.loss), colour);
        }
    }

    private void text(double x, double y, String anchor, String style, String text) {
        append("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" %s>%s</text>", x, y, anchor, style, escape(text));
    }

    private void append(String format, Object... arguments) {
        svg.append(String.format(Locale.ROOT, format, arguments)).append('\n');
    }

    private static String escape(String text) {
        return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;");
    }

    private double x(double step) {
        return LEFT + steps.share(step) * (WIDTH - LEFT - RIGHT);
    }

    private double y(double loss) {
        return HEIGHT - BOTTOM - losses.share(loss) * (HEIGHT - TOP - BOTTOM);
    }
}
