package io.qlora.lora;

import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/** Regular expressions from configurations. */
final class Patterns {

    private Patterns() {}

    /**
     * Compiles a regular expression.
     *
     * @param where the configuration's key
     * @throws IllegalArgumentException naming {@code where}, if it is none
     */
    static Pattern compile(String where, String pattern) {
        try {
            return Pattern.compile(pattern);
        } catch (PatternSyntaxException e) {
            throw new IllegalArgumentException(
                    where + " should be a regular expression, found \"" + pattern + "\": " + e.getDescription(), e);
        }
    }
}
