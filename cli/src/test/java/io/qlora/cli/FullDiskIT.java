package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/**
 * A disk that is full in the middle of a file. The shell's limit on the size of files stands in for it: a write fails in the
 * same place in the same way, for want of another right to write.
 */
@DisabledOnOs(OS.WINDOWS)
class FullDiskIT {

    @TempDir
    Path folder;

    private Path data;
    private Path output;

    @BeforeEach
    void write() throws IOException {
        data = TinyModel.data(folder.resolve("data.jsonl"), 8);
        output = folder.resolve("out");
    }

    /** Runs {@code qlora train} where no file can be longer than about {@code kilobytes}; 0 for as long as they like. */
    private JarProcess.Ended train(int kilobytes, Object... options) throws Exception {
        String command = JarProcess.inShell(JarProcess.command(Cli.training(
                TinyModel.DIRECTORY,
                data,
                output,
                "--max-steps 4 --save-steps 1 --per-device-train-batch-size 2",
                options)));
        String limit = kilobytes == 0 ? "" : "ulimit -f " + 2 * kilobytes + " && "; // in blocks of 512 bytes
        try (JarProcess process = JarProcess.start(List.of("sh", "-c", limit + "exec " + command))) {
            return process.await();
        }
    }

    private Contents contents() throws IOException {
        return Contents.of(output, "metrics.jsonl");
    }

    private static void assertTold(JarProcess.Ended ended, Path file) {
        assertEquals(1, ended.status(), ended.err());
        List<String> told =
                ended.err().lines().filter(line -> line.startsWith("qlora: ")).toList();
        assertEquals(1, told.size(), ended.err());
        assertTrue(told.getFirst().contains(file + ": cannot be written"), ended.err());
        assertTrue(told.getFirst().endsWith(": File too large"), ended.err());
        assertTrue(
                told.getFirst().indexOf("cannot be written") == told.getFirst().lastIndexOf("cannot be written"),
                ended.err());
        assertTrue(!ended.err().contains("\tat "), ended.err());
    }

    @Test
    void aCheckpointThatDoesNotFitLeavesTheEarlierOnesAndTheAdapterAsTheyWere() throws Exception {
        assertEquals(0, train(0).status());
        for (String later : List.of("checkpoint-3", "checkpoint-4")) {
            try (Stream<Path> files = Files.list(output.resolve(later))) {
                for (Path file : files.toList()) {
                    Files.delete(file);
                }
            }
            Files.delete(output.resolve(later));
        }
        Contents before = contents();

        assertTold(train(60, "--resume-from-checkpoint"), output.resolve("checkpoint-3"));

        before.assertSame(contents());
        assertEquals(0, train(0, "--resume-from-checkpoint").status());
    }

    @Test
    void aNewRunThatDoesNotFitLeavesNothingHalfWritten() throws Exception {
        assertTold(train(60), output.resolve("checkpoint-1"));
        assertEquals(Set.of(), contents().names());
    }
}
