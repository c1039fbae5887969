package io.qlora.bench;

import java.util.List;
import java.util.stream.Stream;

/** Everything that can be measured. */
final class Catalogue {

    private Catalogue() {}

    /** The machine's bounds, which every run measures. */
    static List<Subject> bounds() {
        return Bounds.subjects();
    }

    /** All but the bounds. */
    static List<Subject> subjects() {
        return Stream.of(Products.subjects(), Ops.subjects(), Conversions.subjects())
                .flatMap(List::stream)
                .toList();
    }

    /** The subject of a name. */
    static Subject find(String name) {
        return Stream.concat(bounds().stream(), subjects().stream())
                .filter(subject -> subject.name().equals(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("no subject called " + name + ": --list has them"));
    }
}
