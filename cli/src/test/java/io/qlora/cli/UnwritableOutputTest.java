package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A result that could not be printed is a failure, and told; but a reader that has read enough is no trouble. */
class UnwritableOutputTest {

    private static final String FULL = "No space left on device";
    private static final String READER_GONE = "Broken pipe";

    @TempDir
    Path folder;

    /** Takes nothing, and counts the attempts. */
    private static final class Refusing extends OutputStream {

        private final String why;
        private int attempts;

        Refusing(String why) {
            this.why = why;
        }

        @Override
        public void write(int b) throws IOException {
            attempts++;
            throw new IOException(why);
        }
    }

    private static Cli.Result run(OutputStream out, Object... arguments) {
        StringWriter err = new StringWriter();
        int status = QloraCommand.commandLine()
                .setOut(new StandardOutput(out))
                .setErr(new PrintWriter(err))
                .execute(Arrays.stream(arguments).map(Object::toString).toArray(String[]::new));
        return new Cli.Result(status, "", err.toString());
    }

    private Object[] words(String line) throws IOException {
        Path data = TinyModel.data(folder.resolve("data.jsonl"), 4);
        return Arrays.stream(line.split(" "))
                .map(word -> switch (word) {
                    case "MODEL" -> TinyModel.DIRECTORY;
                    case "DATA" -> data;
                    case "OUT" -> folder.resolve("out");
                    default -> word;
                })
                .toArray();
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "eval --model MODEL --data DATA --json",
                "eval --model MODEL --data DATA",
                "generate --model MODEL --prompt Say",
                "generate --model MODEL --prompt Say --max-new-tokens 2 --json",
                "inspect MODEL",
                "doctor",
                "train --help",
                "train --model MODEL --data DATA --output OUT --max-steps 1 --lora-r 2",
                "train --model MODEL --data DATA --output OUT --max-steps 1 --lora-r 2 --json"
            })
    void aFullDiskIsTold(String line) throws IOException {
        run(new Refusing(FULL), words(line)).assertFailure("standard output cannot be written: " + FULL);
    }

    @Test
    void whatWasLearntIsSavedAllTheSame() throws IOException {
        Object[] train = words("train --model MODEL --data DATA --output OUT --max-steps 1 --lora-r 2");
        Cli.Result result = run(new Refusing(READER_GONE), train);
        assertEquals(141, result.status(), result.err());
        assertTrue(Files.exists(folder.resolve("out/adapter_model.safetensors")));
    }

    @Test
    void aReaderThatIsGoneEndsItQuietly() throws IOException {
        Cli.Result result = run(new Refusing(READER_GONE), words("inspect MODEL"));
        assertEquals(new Cli.Result(141, "", ""), result);
    }

    @Test
    void withoutAReaderNoMoreIsGenerated() throws IOException {
        Refusing out = new Refusing(READER_GONE);
        Cli.Result result = run(out, words("generate --model MODEL --prompt Say --max-new-tokens 200"));
        assertEquals(141, result.status(), result.err());
        assertTrue(
                out.attempts <= 3, "attempts: " + out.attempts); // the first piece, what was held back, the line's end
    }
}
