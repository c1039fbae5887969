package io.qlora.cli;

import io.qlora.trainer.RunOptions;
import java.nio.file.Path;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** Where a training run leaves its results, when, and which it goes on from. */
@Command(optionListHeading = "Output:")
final class OutputOptions {

    @Option(
            names = "--output",
            required = true,
            paramLabel = "DIR",
            description = "Gets adapter, metrics.jsonl, loss.svg and checkpoints; new or empty, unless resumed.")
    private Path directory;

    @Option(names = "--save-steps", paramLabel = "N", description = "Write a checkpoint every so many steps.")
    private Integer saveSteps;

    @Option(
            names = "--resume-from-checkpoint",
            arity = "0..1",
            fallbackValue = "latest",
            paramLabel = "DIR",
            description = "Go on from a checkpoint; without DIR from the last one in --output.")
    private Path checkpoint;

    @Option(
            names = "--logging-steps",
            defaultValue = "10",
            paramLabel = "N",
            description =
                    "Where there is no terminal: say how it goes every so many steps (default: ${DEFAULT-VALUE}).")
    private int loggingSteps;

    /** Requires what can be seen from outside. */
    void check() {
        UsageException.require(saveSteps == null || saveSteps >= 1, "--save-steps", "at least 1", saveSteps);
        UsageException.require(loggingSteps >= 1, "--logging-steps", "at least 1", loggingSteps);
        if (checkpoint != null && !checkpoint.equals(RunOptions.LATEST)) {
            Paths.requireDirectory("--resume-from-checkpoint", checkpoint);
        }
    }

    Path directory() {
        return directory;
    }

    /** Steps between two checkpoints; 0 for none. */
    int saveSteps() {
        return saveSteps == null ? 0 : saveSteps;
    }

    /** A checkpoint's directory, {@link RunOptions#LATEST}, or null for a new run. */
    Path checkpoint() {
        return checkpoint;
    }

    int loggingSteps() {
        return loggingSteps;
    }
}
