package io.qlora.lora;

import io.qlora.engine.safetensors.JsonFiles;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.regex.Pattern;

/** What Hugging Face's hub calls a base model, {@code owner/name}; it refuses cards that give a path for that. */
public final class HubName {

    /** As the hub has names: no dot or dash first or last, none twice. */
    private static final Pattern NAME = Pattern.compile("(?!.*(--|\\.\\.))\\w([\\w.-]*\\w)?/\\w([\\w.-]*\\w)?");

    private HubName() {}

    /**
     * The name of a base, if it is known. A directory's is what its {@code config.json} gives as {@code _name_or_path},
     * provided that the directory is called so, too: of a model that was made from another it is the other's.
     *
     * @param base name or path; may be null
     */
    static Optional<String> of(String base) {
        if (base == null) {
            return Optional.empty();
        }
        Path path;
        try {
            path = Path.of(base);
        } catch (InvalidPathException e) {
            return Optional.empty();
        }
        return Files.isDirectory(path) ? ofDirectory(path) : Optional.of(base).filter(HubName::isName);
    }

    private static Optional<String> ofDirectory(Path directory) {
        try {
            String name = JsonFiles.readObject(directory.resolve("config.json"))
                    .path("_name_or_path")
                    .asText();
            return Optional.of(name).filter(HubName::isName).filter(known -> isCalled(directory, known));
        } catch (IOException e) {
            return Optional.empty(); // a card can do without
        }
    }

    /** Whether a text can be a name on the hub; a path may look so, too. */
    public static boolean isName(String text) {
        return NAME.matcher(text).matches();
    }

    private static boolean isCalled(Path directory, String name) {
        Path last = directory.toAbsolutePath().normalize().getFileName();
        return last != null && last.toString().equalsIgnoreCase(name.substring(name.indexOf('/') + 1));
    }
}
