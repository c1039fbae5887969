package io.qlora.lora;

import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;

/**
 * Regular expressions as Python's {@code re} has them, in Java's dialect: PEFT reads its configurations with that, and the
 * same modules have to be meant. What only one of the two dialects has is refused.
 *
 * <p>What reads alike in both and means something else: in Python {@code \Z} is the very end, {@code \v} one character,
 * {@code \d}, {@code \w} and {@code \b} are of all scripts, and only {@code \n} ends a line; among characters in brackets
 * {@code [} and {@code &&} mean themselves, and so does a brace that holds no count. Groups are called {@code (?P<name>…)}.
 */
final class PythonRegex {

    private static final Pattern OPEN = Pattern.compile("\\(\\?(?:[:=!>]|<[=!])");
    private static final Pattern NAMED = Pattern.compile("\\(\\?P<([A-Za-z_]\\w*)>");
    private static final Pattern SAME = Pattern.compile("\\(\\?P=([A-Za-z_]\\w*)\\)");
    private static final Pattern COMMENT = Pattern.compile("\\(\\?#[^)]*\\)");
    private static final Pattern FLAGS = Pattern.compile("\\(\\?([aimsux]*)(?:-([imsx]+))?([:)])");
    private static final Pattern COUNT = Pattern.compile("\\{(?!})([0-9]*)(?:(,)([0-9]*))?}");
    private static final Pattern BLANK = Pattern.compile("[ \\t\\n\\r\\f\\x0B]+|#[^\\n]*");
    private static final Pattern CLASS = Pattern.compile("\\\\[dDsSwW]");
    private static final Pattern OCTAL = Pattern.compile("\\\\(0[0-7]{0,2}|[0-3][0-7]{2})");
    private static final Pattern OCTAL_IN_BRACKETS = Pattern.compile("\\\\([0-3]?[0-7]{1,2})");
    private static final Pattern HEX = Pattern.compile("\\\\(?:x\\p{XDigit}{2}|u\\p{XDigit}{4}|U000\\p{XDigit}{5})");
    private static final Pattern REFERENCE = Pattern.compile("\\\\[1-9][0-9]?");

    private final String source;
    private final StringBuilder out = new StringBuilder();
    private int flags = Pattern.UNICODE_CHARACTER_CLASS | Pattern.UNIX_LINES;
    private boolean verbose;
    private int at;

    private PythonRegex(String source) {
        this.source = source;
    }

    /**
     * Compiles an expression of Python's. A group keeps its name if that has no {@code _} and no {@code Z}.
     *
     * @throws PatternSyntaxException if it is none, or has what cannot be said in Java's dialect
     */
    static Pattern compile(String regex) {
        PythonRegex python = new PythonRegex(regex);
        while (python.at < regex.length()) {
            python.next();
        }
        return Pattern.compile(python.out.toString(), python.flags);
    }

    private void next() {
        if (verbose && take(BLANK) != null) {
            return;
        }
        switch (source.charAt(at)) {
            case '(' -> group();
            case '[' -> brackets();
            case '{' -> count();
            case '\\' -> escape();
            default -> out.append(source.charAt(at++));
        }
    }

    private void group() {
        Matcher found;
        if (!source.startsWith("(?", at)) {
            out.append('(');
            at++;
        } else if ((found = take(OPEN)) != null) {
            out.append(found.group());
        } else if ((found = take(NAMED)) != null) {
            out.append("(?<").append(java(found.group(1))).append('>');
        } else if ((found = take(SAME)) != null) {
            out.append("\\k<").append(java(found.group(1))).append('>');
        } else if ((found = take(FLAGS)) != null) {
            flags(
                    found.group(1),
                    found.group(2) == null ? "" : found.group(2),
                    found.group(3).equals(")"));
        } else if (take(COMMENT) == null) {
            throw other("(?" + (at + 2 < source.length() ? source.charAt(at + 2) : ""));
        }
    }

    /** A group's name in Java, which wants letters and digits alone. */
    private static String java(String name) {
        return name.replace("Z", "ZZ").replace("_", "Zu");
    }

    private void flags(String on, String off, boolean everywhere) {
        if (everywhere) {
            if (!out.isEmpty() || !off.isEmpty()) {
                throw error("flags for all of it should be at its beginning");
            }
            on.chars().forEach(this::flag);
        } else {
            if (on.contains("x") || off.contains("x")) {
                throw other("x for a part");
            }
            boolean ascii = on.contains("a");
            String without = off + (ascii ? "U" : "");
            out.append("(?").append(on.replace("a", "").replace("u", "U"));
            out.append(without.isEmpty() ? "" : "-").append(without).append(':');
        }
    }

    private void flag(int flag) {
        switch (flag) {
            case 'a' -> flags &= ~Pattern.UNICODE_CHARACTER_CLASS;
            case 'i' -> flags |= Pattern.CASE_INSENSITIVE;
            case 'm' -> flags |= Pattern.MULTILINE;
            case 's' -> flags |= Pattern.DOTALL;
            case 'x' -> verbose = true;
            default -> {} // u, which is so anyway
        }
    }

    private void count() {
        Matcher found = take(COUNT);
        if (found == null) {
            literal('{');
            at++;
        } else {
            String least = found.group(1).isEmpty() ? "0" : found.group(1);
            String most = found.group(2) == null ? "" : "," + found.group(3);
            out.append('{').append(least).append(most).append('}');
        }
    }

    private void escape() {
        Matcher found;
        if (source.startsWith("\\Z", at)) {
            out.append("\\z");
            at += 2;
        } else if (source.startsWith("\\A", at) || source.startsWith("\\b", at) || source.startsWith("\\B", at)) {
            out.append(source, at, at += 2);
        } else if ((found = take(CLASS)) != null) {
            out.append(found.group());
        } else if ((found = take(OCTAL)) != null) {
            literal(Integer.parseInt(found.group(1), 8));
        } else if ((found = take(REFERENCE)) != null) {
            out.append("(?:").append(found.group()).append(')'); // what follows may be a digit
        } else {
            literal(character());
        }
    }

    /** The character that an escape stands for. */
    private int character() {
        Matcher hex = take(HEX);
        if (hex != null) {
            return Integer.parseInt(hex.group().substring(2), 16);
        }
        if (at + 1 == source.length()) {
            throw error("nothing follows the last \\");
        }
        int c = source.codePointAt(at + 1);
        int meant = switch (c) {
            case 'a' -> 0x07;
            case 't' -> '\t';
            case 'n' -> '\n';
            case 'v' -> 0x0b;
            case 'f' -> '\f';
            case 'r' -> '\r';
            default -> c;
        };
        if (meant == c && c < 128 && Character.isLetterOrDigit(c)) {
            throw other("\\" + (char) c);
        }
        at += 1 + Character.charCount(c);
        return meant;
    }

    private void brackets() {
        boolean negated = source.startsWith("[^", at);
        out.append(negated ? "[^" : "[");
        at += negated ? 2 : 1;
        int first = at;
        while (at == first || !source.startsWith("]", at)) {
            boolean from = member();
            if (source.startsWith("-", at) && !source.startsWith("-]", at)) {
                out.append('-');
                at++;
                boolean to = member();
                if (!from || !to) {
                    throw error("a range should be from one character to another");
                }
            }
        }
        out.append(']');
        at++;
    }

    /** One of what is in brackets. Returns whether it is a character, not a class of them. */
    private boolean member() {
        if (at >= source.length()) {
            throw error("a [ is not closed");
        }
        Matcher found = take(CLASS);
        if (found != null) {
            out.append(found.group());
            return false;
        }
        if ((found = take(OCTAL_IN_BRACKETS)) != null) {
            literal(Integer.parseInt(found.group(1), 8));
        } else if (source.startsWith("\\b", at)) {
            literal('\b');
            at += 2;
        } else if (source.startsWith("\\", at)) {
            literal(character());
        } else {
            int c = source.codePointAt(at);
            literal(c);
            at += Character.charCount(c);
        }
        return true;
    }

    private void literal(int c) {
        out.append("\\x{").append(Integer.toHexString(c)).append('}');
    }

    /** What {@code pattern} matches here, which is passed; null if it does not. */
    private Matcher take(Pattern pattern) {
        Matcher matcher = pattern.matcher(source).region(at, source.length());
        if (!matcher.lookingAt()) {
            return null;
        }
        at = matcher.end();
        return matcher;
    }

    private PatternSyntaxException other(String what) {
        return error(what + " is not in both Python's dialect and Java's");
    }

    private PatternSyntaxException error(String description) {
        return new PatternSyntaxException(description, source, at);
    }
}
