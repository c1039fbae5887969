package io.qlora.cuda.bench;

import java.util.List;
import java.util.stream.Stream;

/**
 * What {@link CardBench} found.
 *
 * @param passed whether every kernel was right, and nothing failed
 * @param card what was measured, and by what: card, binding, kernels
 * @param driver the newest CUDA that the driver serves
 * @param products whose dense products were used
 * @param checks against the CPU
 * @param ceilings copy bandwidth and the rate of a large dense product
 * @param kernels each with its share of these
 * @param figures launches, products against each other, and what was added
 * @param routes the table of routes that was in use, or was measured
 * @param failures what could not be measured, and why
 * @param lostAt the piece after which the card did nothing more for this process; null if it did
 */
public record Report(
        boolean passed,
        String card,
        String driver,
        String products,
        List<Check> checks,
        List<Measurement> ceilings,
        List<Measurement> kernels,
        List<Figure> figures,
        String routes,
        List<String> failures,
        String lostAt) {

    /** The same, and that this failed. */
    public Report failed(String why) {
        List<String> all = Stream.concat(failures.stream(), Stream.of(why)).toList();
        return new Report(false, card, driver, products, checks, ceilings, kernels, figures, routes, all, lostAt);
    }
}
