package io.qlora.trainer;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class MetricsLogTest {

    @TempDir
    Path folder;

    private static StepReport step(long number) {
        return new StepReport(number, 9, 0.5, 2.25, 1.5, 1e-3, 100, 20, 0.25);
    }

    @Test
    void aStepIsALineAtOnce() throws IOException {
        Path file = folder.resolve("metrics.jsonl");
        try (MetricsLog log = new MetricsLog(file, 0)) {
            log.onStep(step(1));
            assertEquals(2.25, MetricsLog.read(file).getFirst().get("loss").asDouble());
            log.onEvaluation(1, new Evaluation(1.5, 20, 100, 0.1));
            assertEquals(1.5, MetricsLog.read(file).get(1).get("eval_loss").asDouble());
        }
    }

    @Test
    void aResumedLogGoesOnBehindTheStepsThatWereDone() throws IOException {
        Path file = folder.resolve("metrics.jsonl");
        try (MetricsLog log = new MetricsLog(file, 0)) {
            for (int i = 1; i <= 5; i++) {
                log.onStep(step(i));
            }
        }
        try (MetricsLog log = new MetricsLog(file, 3)) {
            log.onStep(step(4));
        }
        assertEquals(
                "[1, 2, 3, 4]",
                MetricsLog.read(file).stream()
                        .map(line -> line.get("step"))
                        .toList()
                        .toString());
    }

    @Test
    void linesThatACrashCutShortAreLeftOut() throws IOException {
        Path file =
                Files.writeString(folder.resolve("metrics.jsonl"), "{\"step\":1}\n{\"step\":2,\"lo\n3\n\n{\"step\":4}");
        assertEquals("[{\"step\":1}, {\"step\":4}]", MetricsLog.read(file).toString());
    }

    @Test
    void aPlaceThatCannotBeWrittenIsNamed() throws IOException {
        Path file = Files.createDirectories(folder.resolve("metrics.jsonl").resolve("x"))
                .getParent();
        IOException e = assertThrows(IOException.class, () -> new MetricsLog(file, 0).close());
        assertTrue(e.getMessage().startsWith(file + ": cannot be written"), e.getMessage());
    }
}
