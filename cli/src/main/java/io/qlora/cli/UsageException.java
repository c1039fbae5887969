package io.qlora.cli;

import java.util.function.Supplier;

/** The command was used wrongly: its message, one sentence that names the way out, is shown and the exit code is 2. */
final class UsageException extends RuntimeException {

    private static final long serialVersionUID = 1L;

    UsageException(String message) {
        super(message);
    }

    UsageException(IllegalArgumentException cause) {
        super(OptionNames.in(cause.getMessage()), cause);
    }

    /** What a library makes of options; what it says against them is said of their use. */
    static <T> T of(Supplier<T> made) {
        try {
            return made.get();
        } catch (IllegalArgumentException e) {
            throw new UsageException(e);
        }
    }

    /**
     * Requires an option to be as it should.
     *
     * @throws UsageException as in {@code --lora-r should be at least 1, found -3}
     */
    static void require(boolean holds, String option, String expected, Object found) {
        if (!holds) {
            throw new UsageException(option + " should be " + expected + ", found " + found);
        }
    }
}
