package io.qlora.cli;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** Checks of the paths on a command line, before anything is done. */
final class Paths {

    private Paths() {}

    /** Requires a directory that holds a model. */
    static void requireModel(Path directory) {
        requireDirectory("--model", directory);
        if (!Files.exists(directory.resolve("config.json"))) {
            throw new UsageException(
                    "--model " + directory + ": expected a Hugging Face model directory, found no config.json in it");
        }
    }

    /** Requires a directory that can be looked into. */
    static void requireDirectory(String option, Path directory) {
        if (!Files.exists(directory)) {
            throw new UsageException(option + " " + directory + ": there is no such directory");
        }
        if (!Files.isDirectory(directory)) {
            throw new UsageException(option + " " + directory + ": expected a directory, found a file");
        }
        requireReadable(option, directory);
    }

    /** Requires files that can be read. */
    static void requireFiles(String option, List<Path> files) {
        for (Path file : files) {
            requireNoOption(option, file.toString());
            if (!Files.exists(file)) {
                throw new UsageException(option + " " + file + ": there is no such file");
            }
            if (Files.isDirectory(file)) {
                throw new UsageException(option + " " + file + ": expected a file, found a directory");
            }
            requireReadable(option, file);
        }
    }

    /** Requires a value, of an option that takes several, to be none that was meant to be an option itself. */
    static void requireNoOption(String option, String value) {
        if (value.startsWith("--")) {
            throw new UsageException("Unknown option: '" + value + "', taken for a value of " + option);
        }
    }

    private static void requireReadable(String option, Path path) {
        if (!Files.isReadable(path)) {
            throw new UsageException(option + " " + path + ": may not be read, permission denied");
        }
    }
}
