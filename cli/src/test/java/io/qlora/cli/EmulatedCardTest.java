package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.qlora.cuda.emulation.EmulatedAccelerator;
import io.qlora.cuda.emulation.Toolchain;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The whole of the command line on a card, which is emulated: what works, and what is told when it does not. */
class EmulatedCardTest {

    private static final String CARD = "--device=emulated";

    /** Of a loss on a card, relative: activations have the eight bits of bfloat16. */
    private static final double TOLERANCE = 5e-3;

    @TempDir
    Path folder;

    private Path data;
    private Path output;

    @BeforeAll
    static void compiler() {
        assumeTrue(Toolchain.has("g++"), "g++ is missing: there is no card to emulate");
    }

    @BeforeEach
    void write() throws IOException {
        data = TinyModel.data(folder.resolve("data.jsonl"), 4);
        output = folder.resolve("out");
    }

    @AfterEach
    void allOfTheCard() {
        System.clearProperty(EmulatedAccelerator.FULL);
    }

    private Cli.Result train(Path directory, Object... more) {
        return Cli.train(
                TinyModel.DIRECTORY, data, directory, "--max-steps 2 --lora-r 2 --learning-rate 1e-2 --json", more);
    }

    private JsonNode eval(Object... more) throws IOException {
        List<Object> arguments =
                new ArrayList<>(List.of("eval", "--model", TinyModel.DIRECTORY, "--data", data, "--json"));
        arguments.addAll(List.of(more));
        return Cli.run(arguments.toArray()).json();
    }

    private static void assertClose(double expected, double found) {
        assertEquals(expected, found, TOLERANCE * expected);
    }

    @Test
    void whatIsTrainedOnACardIsWhatTheProcessorTrainsAndOpens() throws IOException {
        Cli.Result onCard = train(output, CARD);
        JsonNode report = onCard.json();
        List<String> lines = onCard.err().lines().toList();
        assertTrue(
                lines.getFirst().startsWith("qlora    JDK ") && lines.getFirst().contains(", cuda:0, emulated card, "),
                lines.getFirst());
        assertTrue(onCard.err().contains(" of 1021.0 MiB available: weights 310.4 KiB, "), onCard.err());
        assertTrue(onCard.err().contains("of the machine's "), onCard.err());

        JsonNode onProcessor = train(folder.resolve("cpu")).json();
        assertClose(
                onProcessor.get("train_loss").asDouble(),
                report.get("train_loss").asDouble());

        double nll = eval("--adapter", output).get("nll").asDouble();
        assertClose(eval("--adapter", folder.resolve("cpu")).get("nll").asDouble(), nll);
        assertClose(nll, eval("--adapter", output, CARD).get("nll").asDouble());
        assertTrue(nll < eval().get("nll").asDouble(), "something was learnt");
    }

    @Test
    void aCardGenerates() throws IOException {
        Cli.Result result = Cli.run(
                "generate",
                "--model",
                TinyModel.DIRECTORY,
                "--prompt",
                "Say red.",
                "--max-new-tokens",
                3,
                "--json",
                CARD);
        assertEquals(3, result.json().get("ids").size());
    }

    @Test
    void toldToSayMoreTheDeviceIsDescribed() {
        String more = train(output, CARD, "--verbose").err();
        assertTrue(more.contains("multiprocessors, "), more);
        assertTrue(more.contains("NVRTC: "), more);
        assertTrue(more.contains("products: "), more);
        assertTrue(more.contains("routes of matrix products"), more);
        assertFalse(train(folder.resolve("other"), CARD).err().contains("NVRTC: "));
    }

    @Test
    void aCardThatIsFullBeforeAnythingIsLearntLeavesNothing() {
        System.setProperty(EmulatedAccelerator.FULL, "nf4_quantize");
        train(output, CARD).assertFailure("cuda:0 has no room for ", " more: ", " are free, ", "lower --max-length");
        assertFalse(Files.exists(output.resolve("adapter_model.safetensors")));
    }

    /** The table of angles grows with the long document, into memory that was there when it was planned. */
    @Test
    void aCardThatIsFullInTheMiddleLeavesTheAdapterOfTheStepBefore() throws IOException {
        Path model = TinyModel.copyTo(folder.resolve("model"));
        TinyModel.edit(model.resolve("config.json"), config -> config.put("max_position_embeddings", 4096));
        Files.writeString(data, """
                {"text": "word"}
                {"text": "%s"}
                """.formatted("word ".repeat(2200)));
        System.setProperty(EmulatedAccelerator.FULL, "adam_w");
        Cli.Result result = Cli.train(
                model,
                data,
                output,
                "--max-steps 2 --lora-r 2 --max-length 2200 --per-device-train-batch-size 1 --seed 2",
                CARD);
        result.assertFailure("cuda:0 has no room for ", "; the adapter is kept as it was after step 1");
        assertTrue(Files.exists(output.resolve("adapter_model.safetensors")));
        assertTrue(Files.exists(output.resolve("loss.svg")));
        assertEquals(1, Files.readAllLines(output.resolve("metrics.jsonl")).size());
    }
}
