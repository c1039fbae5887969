package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import java.io.IOException;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;

@DisabledOnOs(OS.WINDOWS)
class JarProcessTest {

    @Test
    void aProcessThatNeverEndsIsNotWaitedForForEver() throws IOException {
        try (JarProcess process = JarProcess.start(List.of("sleep", "60"))) {
            assertTimeoutPreemptively(
                    Duration.ofSeconds(20),
                    () -> assertThrows(IllegalStateException.class, () -> process.await(Duration.ofMillis(100))));
        }
    }

    @Test
    void linesThatWereAwaitedAreNotToldAgain() throws Exception {
        try (JarProcess process = JarProcess.start(List.of("sh", "-c", "echo a; echo b; echo c; echo d >&2; exit 3"))) {
            assertEquals("a\nb\n", process.awaitLine("b"));
            assertEquals(new JarProcess.Ended(3, "c", "d\n"), process.await());
        }
    }
}
