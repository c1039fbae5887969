package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.qlora.cuda.bench.Report;
import io.qlora.cuda.emulation.EmulatedAccelerator;
import io.qlora.cuda.emulation.Toolchain;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** {@code bench gpu} on a card that is emulated: everything it does, and none of its times. */
class BenchGpuTest {

    @TempDir
    Path folder;

    private Path json;

    @BeforeAll
    static void compiler() {
        assumeTrue(Toolchain.has("g++"), "g++ is missing: there is no card to emulate");
    }

    @BeforeEach
    void file() {
        json = folder.resolve("bench.json");
    }

    private Cli.Result run(Object... more) {
        Object[] arguments = new Object[6 + more.length];
        System.arraycopy(
                new Object[] {"bench", "gpu", "--device=emulated", "--small", "--json", json}, 0, arguments, 0, 6);
        System.arraycopy(more, 0, arguments, 6, more.length);
        return Cli.run(arguments);
    }

    @Test
    void trainingStepsOfBothShapesAreMeasured() throws IOException {
        Cli.Result result = run("--only", "^steps$");
        assertEquals(0, result.status(), result.err() + result.out());
        JsonNode report = new JsonMapper().readTree(json.toFile()).get("report");
        assertTrue(report.get("passed").asBoolean());
        List<String> figures = StreamSupport.stream(report.get("figures").spliterator(), false)
                .map(figure -> figure.get("name").asText())
                .toList();
        assertEquals(
                List.of(
                        "training step, 2 × 24 tokens, QLoRA",
                        "peak memory, 16 tokens, checkpointing",
                        "peak memory, 70B shape, 2,048 tokens, checkpointing",
                        "training step, 2 × 24 tokens, bf16 LoRA",
                        "QLoRA against our own bf16 LoRA",
                        "time the card waits for launches, 2 × 24 tokens",
                        "time the card waits for launches, 1 × 16 tokens, checkpointing"),
                figures);
        assertTrue(report.get("figures").get(0).get("value").asDouble() > 0);
        assertTrue(report.get("figures").get(1).get("value").asDouble() > 0);
    }

    @Test
    void kernelsAreCheckedAndMeasuredAndTheTableIsPrinted() throws IOException {
        Cli.Result result = run("--only", "^Add\\.");
        assertEquals(0, result.status(), result.err());
        assertTrue(result.out().contains("Every kernel is right; the figures are in " + json), result.out());
        JsonNode report = new JsonMapper().readTree(json.toFile()).get("report");
        assertEquals(4, report.get("checks").size());
        assertEquals("Add.forward", report.get("kernels").get(0).get("name").asText());
        assertTrue(report.get("kernels").get(0).has("gb_s"));
        assertEquals(2, report.get("ceilings").size());
    }

    @Test
    void theFileSaysWhereTheCardWasLostAndAnotherProcessGoesOnFromThere() throws IOException {
        Object[] part = {"--part", "checks", "--only", "^Add\\.|^SwiGlu", "--patience", "60"};
        System.setProperty(EmulatedAccelerator.LOST, "add_forward_bf16");
        try {
            Cli.Result result = run(part);
            assertEquals(1, result.status(), result.out());
            assertTrue(result.out().contains("begun: Add.forward, check"), result.out());
            assertTrue(result.out().contains("the kernel add_forward_bf16 failed"), result.out());
        } finally {
            System.clearProperty(EmulatedAccelerator.LOST);
        }
        JsonNode written = new JsonMapper().readTree(json.toFile());
        assertFalse(written.get("complete").asBoolean());
        assertEquals("Add.forward, check", written.get("next").asText());
        assertEquals("Add.forward, check", written.get("report").get("lost_at").asText());
        Object[] rest = Arrays.copyOf(part, part.length + 2);
        rest[part.length] = "--after";
        rest[part.length + 1] = written.get("next").asText();
        assertEquals(0, run(rest).status());
        written = new JsonMapper().readTree(json.toFile());
        assertTrue(written.get("complete").asBoolean());
        assertEquals(8, written.get("report").get("checks").size(), "of SwiGlu's two kernels");
        assertEquals(0, written.get("report").get("kernels").size());
    }

    @Test
    void aPartThatIsNoneIsWrongUse() {
        Cli.Result result = run("--part", "check");
        assertEquals(2, result.status());
        assertTrue(result.sentence().contains("--part should be checks, kernels, steps, launches, found check"));
    }

    /** The thread that waits for a kernel cannot be asked: another writes what it knows, before it ends the process. */
    @Test
    void whatNeverEndsIsNamedInTheFile() throws Exception {
        StringWriter out = new StringWriter();
        CountDownLatch ended = new CountDownLatch(1);
        PrintWriter printer = new PrintWriter(out);
        BenchWatch watch = new BenchWatch(Duration.ofSeconds(3), "opening", printer, ended::countDown);
        watch.ask(() -> "attention_forward_64", () -> 7);
        List<String> none = List.of();
        Report report =
                new Report(true, "a card", "13.0", "none", List.of(), List.of(), List.of(), List.of(), "", none, null);
        new GpuBenchRun(json, printer, watch, true).next(report, "Attention.forward");
        assertTrue(ended.await(20, TimeUnit.SECONDS));
        JsonNode written = new JsonMapper().readTree(json.toFile());
        assertEquals("Attention.forward", written.get("next").asText());
        String why = written.get("report").get("failures").get(0).asText();
        assertTrue(why.startsWith("Attention.forward, in the kernel attention_forward_64: nothing was heard"), why);
        assertTrue(out.toString().contains("FAILED " + why), out.toString());
    }

    /** A long piece of work that has nothing to say, but goes on. */
    @Test
    void whoStillBeginsKernelsIsNotTakenForDead() throws Exception {
        CountDownLatch ended = new CountDownLatch(1);
        PrintWriter nowhere = new PrintWriter(new StringWriter());
        try (BenchWatch watch = new BenchWatch(Duration.ofMillis(900), "a step", nowhere, ended::countDown)) {
            watch.ask(() -> null, System::nanoTime);
            assertFalse(ended.await(3, TimeUnit.SECONDS));
            watch.ask(() -> null, () -> 7);
            assertTrue(ended.await(20, TimeUnit.SECONDS));
        }
    }

    @Test
    void aProcessorIsNoCard() {
        Cli.Result result = Cli.run("bench", "gpu", "--device", "cpu", "--json", json);
        assertEquals(2, result.status());
        assertTrue(result.sentence().contains("bench gpu measures cards, --device cpu is none"), result.err());
        assertFalse(Files.exists(json));
    }

    @Test
    void anExpressionThatIsNoneIsWrongUse() {
        Cli.Result result = run("--only", "(");
        assertEquals(2, result.status());
        assertTrue(result.sentence().contains("--only should be a regular expression, found (: "), result.err());
    }
}
