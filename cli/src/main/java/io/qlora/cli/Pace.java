package io.qlora.cli;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.OptionalDouble;

/**
 * How fast work is done of late: that of the second half of its parts, and of no more than some. In the first one code is
 * compiled: nothing follows from it, and from those next to it less and less. Safe for use by several threads.
 */
final class Pace {

    private static final int MOST = 50;

    /**
     * A step or a batch.
     *
     * @param amount of work in it
     */
    private record Part(double amount, double seconds) {}

    private final Deque<Part> recent = new ArrayDeque<>();
    private int parts;

    /** A part is done. */
    synchronized void add(double amount, double seconds) {
        recent.addLast(new Part(amount, seconds));
        parts++;
        while (recent.size() > Math.min(MOST, parts / 2)) {
            recent.removeFirst();
        }
    }

    /** Seconds that a part takes; empty before the second one. */
    synchronized OptionalDouble secondsPerPart() {
        return recent.stream().mapToDouble(Part::seconds).average();
    }

    /** Work that is done in a second; empty before the second part. */
    synchronized OptionalDouble amountPerSecond() {
        double amount = recent.stream().mapToDouble(Part::amount).sum();
        double seconds = recent.stream().mapToDouble(Part::seconds).sum();
        return recent.isEmpty() ? OptionalDouble.empty() : OptionalDouble.of(amount / seconds);
    }
}
