package io.qlora.lora;

import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/** Regular expressions from configurations, in Python's dialect and as PEFT puts them together. */
final class Patterns {

    private Patterns() {}

    /**
     * What a module's name as a whole should be.
     *
     * @param where the configuration's key
     * @throws IllegalArgumentException naming {@code where}, if it is no regular expression
     */
    static Pattern whole(String where, String pattern) {
        return compile(where, pattern, pattern);
    }

    /** What a module's name should end in, after its beginning or a dot. */
    static Pattern end(String where, String pattern) {
        return compile(where, pattern, "(.*\\.)?(" + pattern + ")$");
    }

    /**
     * What a module's name should begin with: a layer's name and number, the group {@code idx}. PEFT does not keep the
     * alternatives of {@code a|b} together, of which the first then has no number, and the second is at the beginning.
     */
    static Pattern layer(String where, String pattern) {
        return compile(where, pattern, "(?:^|.*?\\.)" + pattern + "\\.(?P<idx>\\d+)\\.");
    }

    private static Pattern compile(String where, String pattern, String around) {
        try {
            return PythonRegex.compile(around);
        } catch (PatternSyntaxException e) {
            throw new IllegalArgumentException(
                    where + " should be a regular expression of Python's dialect, found \"" + pattern + "\": "
                            + e.getDescription(),
                    e);
        }
    }
}
