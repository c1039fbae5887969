package io.qlora.trainer;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/** Where figures of the reference stack are: the project's own, those beside the project, and any given by a property. */
final class Golden {

    private static final Path ROOT = Path.of(System.getProperty("qlora.root", ".."));

    private Golden() {}

    /** The directories there are: {@code -Dgolden=DIR} alone if given. */
    static Stream<Path> directories() {
        String given = System.getProperty("golden", "");
        if (!given.isEmpty()) {
            return Stream.of(Path.of(given));
        }
        return Stream.of(Path.of("src/test/resources/golden/tiny"), ROOT.resolve("../shared/golden/stories260K"))
                .filter(Files::isDirectory);
    }
}
