package io.qlora.cli;

/** The command was used wrongly: its message, one sentence that names the way out, is shown and the exit code is 2. */
final class UsageException extends RuntimeException {

    private static final long serialVersionUID = 1L;

    UsageException(String message) {
        super(message);
    }
}
