package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class PaceTest {

    private final Pace pace = new Pace();

    @Test
    void theFirstPartSaysNothing() {
        assertTrue(pace.secondsPerPart().isEmpty() && pace.amountPerSecond().isEmpty());
        pace.add(100, 30);
        assertTrue(pace.secondsPerPart().isEmpty() && pace.amountPerSecond().isEmpty());
        pace.add(100, 0.5);
        assertEquals(0.5, pace.secondsPerPart().getAsDouble());
        assertEquals(200, pace.amountPerSecond().getAsDouble());
    }

    @Test
    void aFewPartsThatGetFasterAreSoonForgotten() {
        for (double seconds : new double[] {8, 2, 1, 0.6, 0.55, 0.5, 0.5, 0.5}) {
            pace.add(100, seconds);
        }
        assertEquals(0.5, pace.secondsPerPart().getAsDouble(), 0.05);
        assertEquals(200, pace.amountPerSecond().getAsDouble(), 20);
    }

    @Test
    void ofManyPartsTheLastCount() {
        for (int i = 0; i < 1000; i++) {
            pace.add(100, i < 900 ? 1 : 4);
        }
        assertEquals(4, pace.secondsPerPart().getAsDouble());
    }

    @Test
    void speedIsOfAllTheirWork() {
        pace.add(1, 1);
        pace.add(1, 1);
        pace.add(900, 1);
        pace.add(100, 3);
        assertEquals(250, pace.amountPerSecond().getAsDouble());
    }
}
