package io.qlora.cuda.bench;

import java.util.Locale;

/**
 * What a check showed.
 *
 * @param name the kernel and the sizes
 * @param passed whether the kernel is right
 * @param error the largest difference, as a share of the tensor's largest magnitude; NaN if something is not a number
 * @param tolerance what it may be
 */
public record Check(String name, boolean passed, double error, double tolerance) {

    static Check of(String name, double error, double tolerance) {
        return new Check(name, error <= tolerance, error, tolerance);
    }

    /** How much of what it may be off it is; of one that may not be off at all, nothing or infinitely much. */
    double used() {
        return error == 0 ? 0 : error / tolerance;
    }

    @Override
    public String toString() {
        return String.format(
                Locale.ROOT,
                "%-6s %-58s off by %8.2e of at most %.2e",
                passed ? "ok" : "WRONG",
                name,
                error,
                tolerance);
    }
}
