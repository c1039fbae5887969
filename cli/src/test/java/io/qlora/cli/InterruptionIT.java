package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** Ctrl-C, that is SIGINT: a run stops after its step, saves, ends with 130, and goes on as if nothing had been. */
@DisabledOnOs(OS.WINDOWS)
class InterruptionIT {

    private static final int STEPS = 100;

    /** More than any test waits for. */
    private static final int MANY = 1_000_000;

    @TempDir
    Path folder;

    private Path data;

    @BeforeEach
    void write() throws IOException {
        data = TinyModel.data(folder.resolve("data.jsonl"), 40);
    }

    private List<String> train(Path output, int steps, Object... options) {
        return JarProcess.command(Cli.training(
                TinyModel.DIRECTORY,
                data,
                output,
                "--lora-dropout 0.1 --per-device-train-batch-size 2 --logging-steps 1 --max-steps " + steps,
                options));
    }

    private static byte[] adapter(Path output) throws IOException {
        return Files.readAllBytes(output.resolve("adapter_model.safetensors"));
    }

    @Test
    void aRunThatIsInterruptedSavesAndIsResumedToTheSameBytes() throws Exception {
        Path whole = folder.resolve("whole");
        try (JarProcess process = JarProcess.start(train(whole, STEPS))) {
            assertEquals(0, process.await().status());
        }
        Path stopped = folder.resolve("stopped");
        JarProcess.Ended interrupted;
        try (JarProcess process = JarProcess.start(train(stopped, STEPS))) {
            process.awaitLine("step 3/" + STEPS);
            process.signal("INT");
            interrupted = process.await();
        }
        assertEquals(130, interrupted.status(), interrupted.err());
        assertTrue(interrupted.out().contains("stopping after this step"), interrupted.out());
        assertTrue(interrupted.out().contains("stopped at step "), interrupted.out());
        assertTrue(Files.exists(stopped.resolve("adapter_model.safetensors")));
        assertTrue(Files.exists(stopped.resolve("loss.svg")));
        long step = Files.readAllLines(stopped.resolve("metrics.jsonl")).size();
        assertTrue(step >= 3 && step < STEPS, "it went on to step " + step);
        assertTrue(Files.isDirectory(stopped.resolve("checkpoint-" + step)));

        try (JarProcess process = JarProcess.start(train(stopped, STEPS, "--resume-from-checkpoint"))) {
            JarProcess.Ended resumed = process.await();
            assertEquals(0, resumed.status(), resumed.err());
        }
        assertArrayEquals(adapter(whole), adapter(stopped));
        assertEquals(STEPS, Files.readAllLines(stopped.resolve("metrics.jsonl")).size());
    }

    @Test
    void theReportIsStillPrinted() throws Exception {
        Path output = folder.resolve("out");
        String commandLine = JarProcess.inShell(train(output, MANY, "--json"));
        // So that the lines on standard error can be waited for.
        try (JarProcess process = JarProcess.start(List.of("sh", "-c", "exec " + commandLine + " 3>&1 >&2 2>&3"))) {
            process.awaitLine("step 2/");
            process.signal("TERM");
            JarProcess.Ended ended = process.await();
            assertEquals(128 + 15, ended.status());
            JsonNode report = new ObjectMapper().readTree(ended.err());
            assertTrue(report.get("stopped").asBoolean());
            assertTrue(report.get("steps").asInt() >= 2);
        }
    }

    @Test
    void aRunThatIsInterruptedBeforeItsFirstStepLeavesNothing() throws Exception {
        Path evaluation = TinyModel.data(folder.resolve("eval.jsonl"), 20_000);
        Path output = folder.resolve("out");
        long start = System.nanoTime();
        try (JarProcess process = JarProcess.start(train(output, STEPS, "--eval-data", evaluation))) {
            process.awaitLine("optimizer ");
            process.signal("INT");
            assertEquals(130, process.await().status());
        }
        assertTrue(System.nanoTime() - start < 60e9, "it did not stop");
        if (Files.exists(output)) {
            try (Stream<Path> files = Files.list(output)) {
                assertEquals(List.of(), files.toList());
            }
        }
    }

    /** Its steps are long, so that the second one comes within the first one's. */
    @Test
    void aSecondOneEndsItAtOnceAndLeavesWhatIsThereAsItIs() throws Exception {
        data = TinyModel.data(data, 8_000);
        Path output = folder.resolve("out");
        try (JarProcess process =
                JarProcess.start(train(output, STEPS, "--gradient-accumulation-steps", 4_000, "--save-steps", 1))) {
            process.awaitLine("checkpoint in ");
            Contents before = Contents.of(output);
            process.signal("INT");
            process.awaitLine("Ctrl-C once more ends this without saving");
            process.signal("INT");
            long start = System.nanoTime();
            JarProcess.Ended ended = process.await();
            assertEquals(130, ended.status(), ended.err());
            assertTrue(System.nanoTime() - start < 2e9, "it did not end at once");
            assertFalse(ended.out().contains("stopped at"), ended.out());
            before.assertSame(Contents.of(output));
        }
    }

    @Test
    void aLastEvaluationThatIsInterruptedIsMadeUpForWhenResumed() throws Exception {
        Path evaluation = TinyModel.data(folder.resolve("eval.jsonl"), 2_000);
        Path output = folder.resolve("out");
        JarProcess.Ended interrupted;
        try (JarProcess process = JarProcess.start(train(output, 2, "--eval-data", evaluation))) {
            process.awaitLine("step 2/2");
            process.signal("INT");
            interrupted = process.await();
        }
        assertEquals(130, interrupted.status(), interrupted.err());
        String said = interrupted.out();
        assertTrue(said.contains("eval at step 2  not made, interrupted; --resume-from-checkpoint makes up"), said);
        assertTrue(said.contains("trained 2 of 2 steps in "), said);
        assertEquals(3, Files.readAllLines(output.resolve("metrics.jsonl")).size());

        try (JarProcess process =
                JarProcess.start(train(output, 2, "--eval-data", evaluation, "--resume-from-checkpoint", "--json"))) {
            JarProcess.Ended resumed = process.await();
            assertEquals(0, resumed.status(), resumed.err());
            JsonNode report = new ObjectMapper().readTree(resumed.out());
            assertTrue(report.get("eval_loss").asDouble()
                    < report.get("eval_loss_before").asDouble());
        }
        assertEquals(4, Files.readAllLines(output.resolve("metrics.jsonl")).size());
    }

    @Test
    void theDemosReportIsPrintedToo() throws Exception {
        String commandLine =
                JarProcess.inShell(JarProcess.command("demo", "--json", "--output", folder.resolve("demo")));
        try (JarProcess process = JarProcess.start(List.of("sh", "-c", "exec " + commandLine + " 3>&1 >&2 2>&3"))) {
            process.awaitLine("step 1/");
            process.signal("INT");
            JarProcess.Ended ended = process.await();
            assertEquals(130, ended.status());
            JsonNode report = new ObjectMapper().readTree(ended.err());
            assertTrue(report.get("accuracy_after").isNull(), ended.err());
            assertTrue(report.get("training").get("stopped").asBoolean(), ended.err());
        }
    }

    /** The terminal is made by script, of util-linux. */
    @Test
    void onATerminalThereIsAProgressBarAndCtrlCStillSaves() throws Exception {
        assumeTrue(OS.LINUX.isCurrentOs() && isInstalled("script"), "script of util-linux is not installed");
        Path output = folder.resolve("out");
        String commandLine = String.join(" ", train(output, 5000));
        try (JarProcess process = JarProcess.start(List.of("script", "-qec", commandLine, "/dev/null"))) {
            process.awaitLine("optimizer ");
            while (!Files.exists(output.resolve("metrics.jsonl"))
                    || Files.size(output.resolve("metrics.jsonl")) < 500) {
                Thread.sleep(50);
            }
            process.signal("INT");
            JarProcess.Ended ended = process.await();
            assertEquals(130, ended.status(), ended.out());
            assertTrue(ended.out().contains("\rtrain ") || ended.out().contains("\ntrain "), ended.out());
            assertTrue(ended.out().contains("tokens/s"), ended.out());
            assertTrue(ended.out().contains("stopped at step "), ended.out());
        }
        assertTrue(Files.exists(output.resolve("adapter_model.safetensors")));
    }

    /** What decides is the stream that it is drawn on. */
    @Test
    void theProgressBarIsOnTheTerminalWhateverElseIsRedirected() throws Exception {
        assumeTrue(OS.LINUX.isCurrentOs() && isInstalled("script"), "script of util-linux is not installed");
        Path err = folder.resolve("err");
        String shown = onTerminal(train(folder.resolve("a"), STEPS), " 2>" + err + " </dev/null");
        assertTrue(shown.contains("\rtrain ") || shown.contains("\ntrain "), shown);
        assertFalse(Files.readString(err).contains("\r"), Files.readString(err));

        Path out = folder.resolve("out");
        shown = onTerminal(train(folder.resolve("b"), STEPS), " >" + out);
        assertFalse(shown.contains("train "), shown);
        assertFalse(Files.readString(out).contains("\r"), Files.readString(out));
        assertTrue(Files.readString(out).contains("step 1/" + STEPS), Files.readString(out));

        shown = onTerminal(train(folder.resolve("c"), STEPS, "--json"), " >" + out);
        assertTrue(shown.contains("\rtrain ") || shown.contains("\ntrain "), shown);
        assertEquals(
                STEPS, new ObjectMapper().readTree(out.toFile()).get("steps").asInt());
    }

    /** What a terminal shows of a command. */
    private static String onTerminal(List<String> command, String redirections) throws Exception {
        String line = String.join(" ", command) + redirections;
        try (JarProcess process = JarProcess.start(List.of("script", "-qec", line, "/dev/null"))) {
            JarProcess.Ended ended = process.await();
            assertEquals(0, ended.status(), ended.out());
            return ended.out();
        }
    }

    private static boolean isInstalled(String program) {
        return Arrays.stream(System.getenv("PATH").split(File.pathSeparator))
                .anyMatch(directory -> Files.isExecutable(Path.of(directory, program)));
    }
}
