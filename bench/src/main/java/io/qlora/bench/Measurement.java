package io.qlora.bench;

/**
 * What was measured of a subject.
 *
 * @param subject its name
 * @param threads how many computed
 * @param microseconds of one run, the median; of a bound the best
 * @param gflopS 10⁹ floating-point operations a second; 0 for what multiplies no matrices
 * @param gbS 10⁹ bytes a second, every operand counted once
 * @param ofFmaPeak the share of the FMA peak of as many threads, measured in the same run
 * @param ofBandwidth the share of the memory bandwidth of as many threads, measured in the same run; over 1 where a cache
 *     holds the operands
 * @param peer what it is held against, or null
 * @param timesPeer its speed, of its peer's, measured in the same run; null without a peer
 */
record Measurement(
        String subject,
        int threads,
        double microseconds,
        double gflopS,
        double gbS,
        double ofFmaPeak,
        double ofBandwidth,
        String peer,
        Double timesPeer) {

    Measurement against(double peak, double bandwidth) {
        return new Measurement(
                subject, threads, microseconds, gflopS, gbS, gflopS / peak, gbS / bandwidth, peer, timesPeer);
    }

    Measurement against(Measurement other) {
        return new Measurement(
                subject,
                threads,
                microseconds,
                gflopS,
                gbS,
                ofFmaPeak,
                ofBandwidth,
                other.subject,
                other.microseconds / microseconds);
    }
}
