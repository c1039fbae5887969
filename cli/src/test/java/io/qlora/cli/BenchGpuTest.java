package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.qlora.cuda.emulation.Toolchain;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
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
    void aProcessorIsNoCard() {
        Cli.Result result = Cli.run("bench", "gpu", "--device", "cpu", "--json", json);
        assertEquals(2, result.status());
        assertFalse(Files.exists(json));
    }

    @Test
    void anExpressionThatIsNoneIsWrongUse() {
        Cli.Result result = run("--only", "(");
        assertEquals(2, result.status());
        assertTrue(result.sentence().contains("--only should be a regular expression, found (: "), result.err());
    }
}
