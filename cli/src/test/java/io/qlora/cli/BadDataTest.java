package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Data that cannot be learnt: one sentence that names file and line, before anything is loaded or written. */
class BadDataTest {

    private static final String GOOD = "{\"prompt\": \"a\", \"completion\": \"b\"}\n";

    @TempDir
    Path folder;

    private Cli.Result train(Path data, Object... more) {
        Cli.Result result = Cli.train(TinyModel.DIRECTORY, data, folder.resolve("out"), "--max-steps 1", more);
        assertFalse(Files.exists(folder.resolve("out")));
        return result;
    }

    private static Cli.Result eval(Path data) {
        return Cli.run("eval", "--model", TinyModel.DIRECTORY, "--data", data, "--json");
    }

    private Path write(String name, String text) throws IOException {
        return Files.writeString(folder.resolve(name), text);
    }

    @ParameterizedTest
    @CsvSource({
        "'{\"prompt\": \"a\", \"completion\": }', not valid JSON",
        "'{\"prompt\": \"a\"', not valid JSON",
        "nonsense, not valid JSON",
        "'{\"text\": \"a\"} {\"text\": \"b\"}', more than one JSON value",
        "'{\"text\": \"a\", \"text\": \"b\"}', not valid JSON",
        "'[1]', expected an object",
        "'{\"question\": \"a\"}', 'found the fields [question]'",
        "'{\"text\": 3}', '\"text\" should be a string, found 3'",
        "'{\"prompt\": \"a\", \"completion\": null}', '\"completion\" should be a string, found null'",
        "'{\"messages\": []}', not supported yet",
        "'{\"conversations\": []}', not supported yet",
    })
    void aMalformedRecordIsNamedByItsLine(String line, String expected) throws IOException {
        Path data = write("data.jsonl", GOOD + "\n" + GOOD + line + "\n" + GOOD);
        train(data).assertFailure(data + ", line 4", expected);
        eval(data).assertFailure(data + ", line 4", expected);
        Cli.run("inspect", data).assertFailure(data + ", line 4", expected);
    }

    @ParameterizedTest
    @CsvSource({
        "'[{\"text\": \"a\"},\n{\"text\": 3}]', line 2",
        "'[{\"text\": \"a\"},\n{\"text\" \"b\"}]', line 2",
        "'[{\"text\": \"a\"}', JSON",
        "'[{\"text\": \"a\"}] x', JSON",
    })
    void aMalformedArrayIsRefused(String text, String expected) throws IOException {
        Path data = write("data.json", text);
        train(data).assertFailure(data, expected);
    }

    @Test
    void anotherFileThanTheFirstIsNamedToo() throws IOException {
        Path good = write("good.jsonl", GOOD);
        Path bad = write("bad.jsonl", GOOD + "{");
        train(good, "--data", bad).assertFailure(bad + ", line 2");
        train(good, "--eval-data", bad).assertFailure(bad + ", line 2");
    }

    @ParameterizedTest
    @ValueSource(strings = {"data.jsonl", "data.json", "data.txt"})
    void anEmptyDataSetIsRefused(String name) throws IOException {
        Path data = write(name, "\n \n");
        train(data).assertFailure(data, "expected records, found none");
        eval(data).assertFailure(data, "expected records, found none");
        train(write(name, "")).assertFailure(data, "expected records, found none");
    }

    @Test
    void anEmptyArrayIsRefused() throws IOException {
        Path data = write("data.json", "[]");
        train(data).assertFailure(data, "expected records, found none");
    }

    @Test
    void aDataSetWithNoTargetsLeftIsRefused() throws IOException {
        Path data =
                write("data.jsonl", "{\"prompt\": \"" + "long ".repeat(50) + "\", \"completion\": \"b\"}\n".repeat(1));
        train(data, "--max-length", 16)
                .assertFailure(
                        data, "none of the 1 records has a target left", "--max-length 16", "line 1", "allow longer");
    }

    @Test
    void recordsThatLoseAllTheirTargetsAreLeftOutAndNamed() throws IOException {
        Path data = write("data.jsonl", GOOD + "{\"prompt\": \"" + "long ".repeat(50) + "\", \"completion\": \"b\"}\n");
        Cli.Result result =
                Cli.run("eval", "--model", TinyModel.DIRECTORY, "--data", data, "--max-length", 16, "--json");
        assertTrue(result.err().contains("1 was longer than 16 tokens and cut"), result.err());
        assertTrue(result.err().contains("left out, no target within 16 tokens: " + data + ", line 2"), result.err());
    }

    @Test
    void whatIsNotUtf8IsRefused() throws IOException {
        Path data = Files.write(
                folder.resolve("data.jsonl"), "{\"text\": \"gr\u00fcn\"}".getBytes(StandardCharsets.ISO_8859_1));
        train(data).assertFailure(data, "not UTF-8 text: save it as UTF-8");
        Files.writeString(data, "{\"text\": \"gr\u00fcn\"}", StandardCharsets.UTF_16);
        train(data).assertFailure(data, "not UTF-8 text but UTF-16: save it as UTF-8");
        Files.write(data, new byte[] {0x1f, (byte) 0x8b, 8, 0});
        train(data).assertFailure(data, "not text but gzip: unpack it first");
    }

    @Test
    void aSplitThatLeavesNothingIsWrongUse() throws IOException {
        Path data = write("data.jsonl", GOOD + GOOD);
        train(data, "--eval-split", 2).assertWrongUse("--eval-split 2", "leaves nothing of the 2 documents");
        train(data, "--eval-split", 0.9).assertWrongUse("--eval-split 0.9", "leaves nothing of the 2 documents");
    }

    @Test
    void deeplyNestedJsonIsRefused() throws IOException {
        Path data = write("data.jsonl", "{\"text\": " + "[".repeat(100_000) + "\n");
        train(data).assertFailure(data + ", line 1", "not valid JSON");
    }
}
