package io.qlora.lora;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.regex.PatternSyntaxException;
import org.junit.jupiter.api.Test;

/** Each expectation is what Python 3.11 says. */
class PythonRegexTest {

    private static void assertMatches(String regex, String text) {
        assertEquals(true, PythonRegex.compile(regex).matcher(text).matches(), regex + " and " + text);
    }

    private static void assertNoMatch(String regex, String text) {
        assertEquals(false, PythonRegex.compile(regex).matcher(text).matches(), regex + " and " + text);
    }

    private static void assertRefused(String regex, String description) {
        assertEquals(
                description,
                assertThrows(PatternSyntaxException.class, () -> PythonRegex.compile(regex), regex)
                        .getDescription());
    }

    @Test
    void groupsHaveNames() {
        assertMatches("(?P<n_1>.)x(?P=n_1)", "axa");
        assertNoMatch("(?P<n_1>.)x(?P=n_1)", "axb");
        assertMatches("(?P<a_b>.)(?P<aZub>.)(?P=a_b)(?P=aZub)", "xyxy");
        assertEquals(
                2,
                PythonRegex.compile("(?P<idx>.)")
                        .matcher("2")
                        .results()
                        .mapToInt(found -> Integer.parseInt(found.group("idx")))
                        .sum());
        assertMatches("a(?#b)c", "ac");
    }

    @Test
    void endsAreThoseOfTheTextOrOfALine() {
        assertMatches("\\Aa\\Z", "a");
        assertNoMatch("(?s)a\\Z.", "a\n");
        assertMatches("(?s)a$.", "a\n");
        assertNoMatch("(?s)a$.", "a\r");
        assertMatches("a.b", "a\rb");
        assertNoMatch("a.b", "a\nb");
    }

    @Test
    void classesAreOfAllScripts() {
        assertMatches("\\d\\w\\s", "\u0663\u00e9\u00a0");
        assertMatches("\\b\u00e9\\b", "\u00e9");
        assertNoMatch("(?a)\\d", "\u0663");
        assertNoMatch("(?a:\\d)", "\u0663");
    }

    @Test
    void flagsAreForAllOfItOrForAPart() {
        assertMatches("(?i)q_PROJ", "Q_proj");
        assertMatches("(?i:Q)_proj", "q_proj");
        assertNoMatch("(?i:Q)_Proj", "q_proj");
        assertNoMatch("(?i)(?-i:Q)_proj", "q_proj");
        assertMatches("(?x) q [ #]? # the query\n _proj", "q_proj");
        assertRefused("q(?i)", "flags for all of it should be at its beginning");
    }

    @Test
    void charactersInBracketsMeanThemselves() {
        assertMatches("[[]", "[");
        assertMatches("[a&&b]+", "a&b");
        assertMatches("[]a]+[^]b]", "a]c");
        assertMatches("[a-c-]+", "b-");
        assertNoMatch("[a-c\\-z]", "x");
        assertMatches("[\\d_\\x41\\101\\b]+", "3_A\b");
        assertRefused("[\\w-z]", "a range should be from one character to another");
        assertRefused("[]", "a [ is not closed");
    }

    @Test
    void bracesThatCountNothingMeanThemselves() {
        assertMatches("a{,2}b", "aab");
        assertNoMatch("a{,2}b", "aaab");
        assertMatches("a{,}", "aaaa");
        assertMatches("a{}{x}{2", "a{}{x}{2");
        assertMatches("a{2}b{1,}c{0,1}", "aabbb");
    }

    @Test
    void numbersAreGroupsOrCharacters() {
        assertMatches("(.)\\1", "aa");
        assertMatches("(.)\\1[0]", "aa0");
        assertMatches("\\0\\07\\101\\x41\\u0041\\U00000041", "\0\u0007AAAA");
        assertMatches("\\v\\a\\.\\_\\/", "\u000b\u0007._/");
    }

    @Test
    void whatOneOfTheDialectsLacksIsRefused() {
        for (String java : new String[] {"\\p", "\\h", "\\Q", "\\z", "\\R", "\\G", "\\k", "\\e", "\\c"}) {
            assertRefused(java + "{L}", java + " is not in both Python's dialect and Java's");
        }
        assertRefused("(?<n>a)", "(?< is not in both Python's dialect and Java's");
        assertRefused("(a)?(?(1)b|c)", "(?( is not in both Python's dialect and Java's");
        assertRefused("(?x:a)", "x for a part is not in both Python's dialect and Java's");
        assertRefused("(?", "(? is not in both Python's dialect and Java's");
        assertRefused("a\\", "nothing follows the last \\");
    }
}
