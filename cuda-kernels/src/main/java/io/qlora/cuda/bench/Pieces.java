package io.qlora.cuda.bench;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.driver.CudaException;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Consumer;
import java.util.stream.Stream;

/**
 * The pieces of a bench, one after the other: which of them are done, what failed in them, and whether the card was lost in
 * one, after which there are no more.
 */
final class Pieces {

    private final CudaDevice card;
    private final Selection what;
    private final Consumer<String> lines;
    private final Consumer<String> next;
    private final List<String> failures = new ArrayList<>();
    private List<String> heading = List.of(); // of what is begun next; none if it is said already
    private boolean reached; // the piece that is done alone, or gone on after
    private String lostAt; // the card: after an error in a kernel it does nothing more for this process

    /**
     * Pieces on a card.
     *
     * @param lines takes headings and failures
     * @param next is told what is begun
     */
    Pieces(CudaDevice card, Selection what, Consumer<String> lines, Consumer<String> next) {
        this.card = card;
        this.what = what;
        this.lines = lines;
        this.next = next;
        this.reached = what.after() == null && what.alone() == null;
    }

    /** What failed, and why. */
    List<String> failures() {
        return failures;
    }

    /** The piece in which the card was lost, or null. */
    String lostAt() {
        return lostAt;
    }

    /** What is above the next piece, if there is one. */
    void heading(String text, String... more) {
        heading = Stream.concat(Stream.of("", "— " + text), Stream.of(more)).toList();
    }

    /** Something that is no piece's own fault. */
    void fail(String why) {
        failures.add(why);
        lines.accept("FAILED " + why);
    }

    /** Does a piece, if it is to be done. They are asked for in the order they are done in. */
    void attempt(String name, Runnable piece) {
        if (what.alone() != null ? what.alone().equals(name) : reached) {
            begin(name, piece);
        }
        reached |= name.equals(what.after()) || name.equals(what.alone());
    }

    /** Fails if the piece to be done alone, or gone on after, was none. */
    void requireKnown() {
        if (!reached && lostAt == null) {
            throw new IllegalArgumentException("nothing is called "
                    + (what.alone() == null ? what.after() : what.alone()) + " in the parts that are wanted");
        }
    }

    /** Does one that other pieces build on also where it was done before, unless the card was lost in one of these. */
    void attemptAgain(String name, List<String> these, Runnable piece) {
        if (what.alone() == null && !reached && !these.contains(what.after())) {
            begin(name, piece);
        } else {
            attempt(name, piece);
        }
    }

    private void begin(String name, Runnable piece) {
        if (lostAt == null) {
            next.accept(name);
            heading.forEach(lines);
            heading = List.of();
            run(name, piece);
        }
    }

    /** Does something of which other pieces are a part. */
    void run(String name, Runnable work) {
        try {
            work.run();
        } catch (RuntimeException | Error e) { // what comes after is worth having
            fail(name + ": " + (e.getMessage() == null ? e : e.getMessage()));
            if (!answers()) {
                lostAt = name;
            }
        }
    }

    /** Whether the card still does anything; what is begun after an error in a kernel fails, too. */
    private boolean answers() {
        try {
            card.finish();
            return true;
        } catch (CudaException e) {
            failures.add("the card answers no more, what comes after was left out: " + e.getMessage());
            return false;
        }
    }
}
