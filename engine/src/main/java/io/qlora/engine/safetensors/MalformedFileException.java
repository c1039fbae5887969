package io.qlora.engine.safetensors;

import java.io.IOException;
import java.nio.file.Path;

/** A file that could be read but does not hold what it should. The message names it and says what was expected and found. */
public final class MalformedFileException extends IOException {

    private static final long serialVersionUID = 1;

    /**
     * For {@code file}.
     *
     * @param problem what is wrong in it, and where
     */
    public MalformedFileException(Path file, String problem) {
        super(file + ": " + problem);
    }

    /** For {@code file}, with what a parser said about it. */
    public MalformedFileException(Path file, String problem, Throwable cause) {
        super(file + ": " + problem, cause);
    }
}
