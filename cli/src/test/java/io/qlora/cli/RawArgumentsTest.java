package io.qlora.cli;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.charset.Charset;
import java.util.List;
import org.junit.jupiter.api.Test;

class RawArgumentsTest {

    private static List<String> read(String commandLine, Charset encoding, String... args) {
        return RawArguments.of(commandLine.getBytes(UTF_8), args, encoding).stream()
                .map(bytes -> new String(bytes, UTF_8))
                .toList();
    }

    @Test
    void whatALocaleCannotSayIsTakenFromTheSystem() {
        String lost = new String("Grüße".getBytes(UTF_8), US_ASCII);
        assertEquals(
                List.of("", "Grüße", "", "b"), read("java\0-jar\0a.jar\0\0Grüße\0\0b\0", US_ASCII, "", lost, "", "b"));
    }

    @Test
    void argumentsFromElsewhereAreEncodedAsTheyAre() {
        assertEquals(List.of("train", "a"), read("java\0@arguments\0", UTF_8, "train", "a"));
        assertEquals(List.of("train", "a", "é"), read("java\0@arguments\0", UTF_8, "train", "a", "é"));
        assertEquals(List.of("é"), read("", UTF_8, "é"));
    }

    @Test
    void noneAreNone() {
        assertEquals(List.of(), read("java\0-jar\0a.jar\0", UTF_8));
    }
}
