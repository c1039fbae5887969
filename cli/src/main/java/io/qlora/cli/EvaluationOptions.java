package io.qlora.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** What a training run is measured on, and when. */
@Command(optionListHeading = "Evaluation, before and after training:")
final class EvaluationOptions {

    @Option(names = "--eval-data", arity = "1..*", paramLabel = "FILE", description = "Files to measure on.")
    private List<Path> files = new ArrayList<>();

    @Option(
            names = "--eval-split",
            paramLabel = "N",
            description = "Instead of --eval-data: hold out a share (below 1) or a number of the documents.")
    private Double split;

    @Option(names = "--eval-steps", paramLabel = "N", description = "Also measure every so many steps.")
    private Integer steps;

    /** Requires what can be seen without reading the files. */
    void check() {
        Paths.requireFiles("--eval-data", files);
        UsageException.require(split == null || split > 0, "--eval-split", "a share or a number above 0", split);
        UsageException.require(steps == null || steps >= 1, "--eval-steps", "at least 1", steps);
        if (steps != null && split == null && files.isEmpty()) {
            throw new UsageException("--eval-steps needs something to measure on: --eval-data or --eval-split");
        }
    }

    List<Path> files() {
        return files;
    }

    /** A share or number; 0 for none. */
    double split() {
        return split == null ? 0 : split;
    }

    /** Steps between two measurements; 0 for none. */
    int steps() {
        return steps == null ? 0 : steps;
    }
}
