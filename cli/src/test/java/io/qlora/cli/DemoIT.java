package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code qlora demo}, the first thing that is run of all. */
class DemoIT {

    private static final Pattern RESULT = Pattern.compile("answered exactly: (\\d+) % before, (\\d+) % after");

    @TempDir
    Path folder;

    @Test
    void whatWasNotKnownIsLearntAndEveryPathIsSaidOnce() throws Exception {
        Path adapter = folder.resolve("demo").resolve("adapter");
        try (JarProcess process = JarProcess.start(JarProcess.command("demo", "--output", folder.resolve("demo")))) {
            JarProcess.Ended ended = process.await();
            assertEquals(0, ended.status(), ended.err());
            Matcher result = RESULT.matcher(ended.out());
            assertTrue(result.find(), ended.out());
            assertTrue(Integer.parseInt(result.group(1)) < 10, ended.out());
            assertTrue(Integer.parseInt(result.group(2)) > 90, ended.out());
            for (Path said : new Path[] {adapter, adapter.resolve("loss.svg")}) {
                assertTrue(Files.exists(said));
                assertEquals(
                        1,
                        ended.out()
                                .lines()
                                .filter(line -> line.endsWith(" " + said))
                                .count(),
                        ended.out());
            }
        }
    }
}
