package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import org.junit.jupiter.api.Test;

class TerminalLineTest {

    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    private final TerminalLine line = new TerminalLine(new PrintStream(bytes, true, StandardCharsets.UTF_8));

    @Test
    void nothingEverLeavesTheLine() {
        line.accept("x".repeat(5000));
        line.close();
        String written = bytes.toString(StandardCharsets.UTF_8);
        assertTrue(!written.contains("\n"), written);
        String bar = written.split("\r")[1];
        assertTrue(bar.length() > line.getMaxRenderedLength() && bar.length() < 5000, written);
    }

    @Test
    void closingClearsTheLine() {
        line.accept("half");
        line.close();
        assertTrue(bytes.toString(StandardCharsets.UTF_8).matches("\rhalf\r {10,}\r"));
        assertEquals('\r', bytes.toByteArray()[bytes.size() - 1]);
    }
}
