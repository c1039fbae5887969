package io.qlora.cli;

import io.qlora.lora.HubName;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** Checks of the paths on a command line, before anything is done. */
final class Paths {

    private Paths() {}

    /** Requires a directory that holds a model. */
    static void requireModel(Path directory) {
        if (!Files.exists(directory) && HubName.isName(directory.toString())) {
            throw new UsageException("--model " + directory + ": there is no such directory; if that is a name on"
                    + " Hugging Face, get the model's files from there first, none are downloaded");
        }
        requireDirectory("--model", directory);
        if (!Files.exists(directory.resolve("config.json"))) {
            boolean original = Files.exists(directory.resolve("params.json"));
            throw new UsageException(
                    "--model " + directory + ": expected a Hugging Face model directory, found no config.json in it"
                            + (original ? " but params.json: Meta's own format is not read" : ""));
        }
    }

    /** Requires a directory that holds an adapter. */
    static void requireAdapter(Path directory) {
        requireDirectory("--adapter", directory);
        if (!Files.exists(directory.resolve("adapter_config.json"))) {
            throw new UsageException(
                    "--adapter " + directory + ": expected a PEFT directory, found no adapter_config.json in it");
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
            requireNoPipe(option + " " + file, file);
        }
    }

    /** Requires a value, of an option that takes several, to be none that was meant to be an option itself. */
    static void requireNoOption(String option, String value) {
        if (value.startsWith("--")) {
            throw new UsageException("Unknown option: '" + value + "', taken for a value of " + option);
        }
    }

    /**
     * Requires a file that can be read again, and not what a shell makes of {@code <(…)} or gives as {@code /dev/stdin}.
     *
     * @param name what to call it
     */
    static void requireNoPipe(String name, Path file) {
        if (!Files.isRegularFile(file)) {
            throw new UsageException(
                    name + ": is a pipe or a device, and data is read more than once: save it to a file" + " first");
        }
    }

    private static void requireReadable(String option, Path path) {
        if (!Files.isReadable(path)) {
            throw new UsageException(option + " " + path + ": may not be read, permission denied");
        }
    }
}
