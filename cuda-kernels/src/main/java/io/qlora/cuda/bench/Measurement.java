package io.qlora.cuda.bench;

import java.util.Locale;

/**
 * What one kernel took.
 *
 * @param name the kernel
 * @param micros median of the runs, microseconds on the card
 * @param best the shortest run
 * @param gflop 10⁹ floating-point operations of its matrix products
 * @param megabytes 10⁶ bytes that have to be read and written
 * @param tflopS 10¹² floating-point operations a second
 * @param gbS 10⁹ bytes a second
 * @param share of what the card's measured ceilings allow, from 0 to 1; 0 for a ceiling itself
 */
public record Measurement(
        String name,
        double micros,
        double best,
        double gflop,
        double megabytes,
        double tflopS,
        double gbS,
        double share) {

    /** One whose rates follow from its time. */
    static Measurement of(String name, EventTimer.Times times, double flops, double bytes) {
        double micros = times.median();
        double perSecond = micros == 0 ? 0 : 1e6 / micros;
        return new Measurement(
                name,
                micros,
                times.best(),
                1e-9 * flops,
                1e-6 * bytes,
                1e-12 * flops * perSecond,
                1e-9 * bytes * perSecond,
                0);
    }

    /** Its share of these ceilings, whichever of them is the lower one for it. */
    Measurement against(double mostTflopS, double mostGbS) {
        double arithmetic = mostTflopS == 0 ? 0 : tflopS / mostTflopS;
        double memory = mostGbS == 0 ? 0 : gbS / mostGbS;
        return new Measurement(name, micros, best, gflop, megabytes, tflopS, gbS, Math.max(arithmetic, memory));
    }

    /** The columns of {@link #toString}. */
    static String head() {
        return String.format(
                Locale.ROOT, "%-46s %11s %11s %10s %9s %8s", "", "median µs", "best µs", "TFLOP/s", "GB/s", "share");
    }

    @Override
    public String toString() {
        return String.format(
                        Locale.ROOT,
                        "%-46s %11.1f %11.1f %10s %9.0f %8s",
                        name,
                        micros,
                        best,
                        gflop == 0 ? "" : String.format(Locale.ROOT, "%.1f", tflopS),
                        gbS,
                        share == 0 ? "" : String.format(Locale.ROOT, "%.1f %%", 100 * share))
                .stripTrailing();
    }
}
