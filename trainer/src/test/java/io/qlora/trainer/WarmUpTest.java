package io.qlora.trainer;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class WarmUpTest {

    private static boolean running() {
        return Thread.getAllStackTraces().keySet().stream()
                .anyMatch(t -> t.getName().equals("qlora-warm-up"));
    }

    @Test
    void itRunsBesideItsCallerAndIsOverWhenClosed() {
        try (WarmUp _ = WarmUp.begin(null)) {
            assertTrue(running());
        }
        assertFalse(running());
    }
}
