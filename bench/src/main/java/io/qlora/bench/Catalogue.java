package io.qlora.bench;

import java.util.List;
import java.util.stream.Stream;

/** Everything that can be measured. */
final class Catalogue {

    private static final List<Subject> BOUNDS = Bounds.subjects();
    private static final List<Subject> SUBJECTS = Stream.of(Products.subjects(), Ops.subjects(), Conversions.subjects())
            .flatMap(List::stream)
            .toList();

    private Catalogue() {}

    /** The machine's bounds, which every run measures. */
    static List<Subject> bounds() {
        return BOUNDS;
    }

    /** All but the bounds. */
    static List<Subject> subjects() {
        return SUBJECTS;
    }

    static Subject find(String name) {
        return Stream.concat(BOUNDS.stream(), SUBJECTS.stream())
                .filter(subject -> subject.name().equals(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("no subject called " + name + ": --list has them"));
    }
}
