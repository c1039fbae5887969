package io.qlora.bench;

import java.io.PrintStream;
import java.util.Locale;

/** The measurements for people, a line each as they come. */
record Table(PrintStream out) {

    private static final String LINE = "%-67s %3s %12s %9s %7s %9s %7s  %s%n";

    void head() {
        out.printf(Locale.ROOT, LINE, "", "thr", "µs", "GFLOP/s", "of FMA", "GB/s", "of mem", "speed, of its peer's");
    }

    void line(Measurement m) {
        out.printf(
                Locale.ROOT,
                LINE,
                m.subject(),
                m.threads(),
                number("%.1f", m.microseconds()),
                number("%.1f", m.gflopS()),
                number("%.2f", m.ofFmaPeak()),
                number("%.2f", m.gbS()),
                number("%.2f", m.ofBandwidth()),
                m.timesPeer() == null
                        ? ""
                        : number("%.2f", m.timesPeer()) + " of " + m.peer().split(",", 2)[0]);
        out.flush();
    }

    private static String number(String format, double value) {
        return value == 0 ? "" : String.format(Locale.ROOT, format, value);
    }
}
