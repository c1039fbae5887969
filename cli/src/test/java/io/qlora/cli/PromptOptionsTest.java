package io.qlora.cli;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import org.junit.jupiter.api.Test;

/** {@code --prompt -}: the prompt on standard input. */
class PromptOptionsTest {

    private static String read(String input) throws IOException {
        return PromptOptions.read(new ByteArrayInputStream(input.getBytes(UTF_8)));
    }

    @Test
    void itIsTakenAsItIsButForItsLastLinesEnd() throws IOException {
        assertEquals("Grüße", read("Grüße"));
        assertEquals("Grüße", read("Grüße\n"));
        assertEquals("a\r\nb", read("a\r\nb\r\n"));
        assertEquals(" a\n", read(" a\n\n"));
        assertEquals("", read("\n"));
        assertEquals("", read(""));
    }

    @Test
    void bytesThatAreNoTextAreRefused() {
        byte[] latin = {'G', 'r', (byte) 0xFC};
        UsageException e =
                assertThrows(UsageException.class, () -> PromptOptions.read(new ByteArrayInputStream(latin)));
        assertEquals("--prompt -: what is on standard input is not UTF-8 text", e.getMessage());
    }
}
