package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.DataInputStream;
import java.io.IOException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class LauncherTest {

    @Test
    void javaEightCanRunIt() throws IOException {
        try (DataInputStream file = new DataInputStream(Launcher.class.getResourceAsStream("Launcher.class"))) {
            file.skipNBytes(6);
            assertEquals(52, file.readUnsignedShort(), "the version of its class file");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"1.8", "11", "17", "24"})
    void aJavaThatIsTooOldIsKnown(String specification) {
        assertTrue(Launcher.isTooOld(specification));
    }

    @ParameterizedTest
    @ValueSource(strings = {"25", "26"})
    void aJavaThatWillDoIsKnown(String specification) {
        assertFalse(Launcher.isTooOld(specification));
    }
}
