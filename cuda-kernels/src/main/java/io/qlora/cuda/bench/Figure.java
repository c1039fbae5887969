package io.qlora.cuda.bench;

import java.util.Locale;

/**
 * A number that says something of the card or of a run on it.
 *
 * @param name what it is
 * @param value how much
 * @param unit of the value: {@code ns}, {@code tokens/s}, {@code GiB}; {@code ratio} or {@code share} where it has none
 * @param atLeast what it should at least be, or null
 * @param atMost what it should at most be, or null
 * @param note what has to be said beside, or nothing
 */
public record Figure(String name, double value, String unit, Double atLeast, Double atMost, String note) {

    /** Without an aim. */
    public static Figure of(String name, double value, String unit, String note) {
        return new Figure(name, value, unit, null, null, note);
    }

    /** One that should be at least {@code aim}. */
    public static Figure atLeast(double aim, String name, double value, String unit, String note) {
        return new Figure(name, value, unit, aim, null, note);
    }

    /** One that should be at most {@code aim}. */
    public static Figure atMost(double aim, String name, double value, String unit, String note) {
        return new Figure(name, value, unit, null, aim, note);
    }

    @Override
    public String toString() {
        String against = "";
        if (atLeast != null) {
            against = "(at least " + number(atLeast) + (value >= atLeast ? ": met)" : ": not met)");
        } else if (atMost != null) {
            against = "(at most " + number(atMost) + (value <= atMost ? ": met)" : ": not met)");
        }
        return String.format(Locale.ROOT, "%-58s %10s %-9s %s %s", name, number(value), unit, against, note)
                .stripTrailing();
    }

    private static String number(double value) {
        return String.format(Locale.ROOT, Math.abs(value) >= 100 ? "%,.0f" : "%.3f", value);
    }
}
