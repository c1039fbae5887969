package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;

/** Runs the command line in this process, as {@link Main} does, and keeps what it prints. */
final class Cli {

    private Cli() {}

    /** Runs a command; every argument is turned to text. */
    static Result run(Object... arguments) {
        StringWriter out = new StringWriter();
        StringWriter err = new StringWriter();
        String[] words = Arrays.stream(arguments).map(Object::toString).toArray(String[]::new);
        int status = QloraCommand.commandLine()
                .setOut(new PrintWriter(out))
                .setErr(new PrintWriter(err))
                .execute(Main.dashed(words));
        return new Result(status, out.toString(), err.toString());
    }

    /**
     * The arguments of a training run.
     *
     * @param options words, as in a shell
     * @param more further ones, each a word of its own
     */
    static Object[] training(Path model, Path data, Path output, String options, Object... more) {
        Stream<Object> paths = Stream.of("train", "--model", model, "--data", data, "--output", output);
        return Stream.of(paths, Arrays.stream(options.split(" ")), Arrays.stream(more))
                .flatMap(words -> words)
                .toArray();
    }

    /** Trains; the arguments are those of {@link #training}. */
    static Result train(Path model, Path data, Path output, String options, Object... more) {
        return run(training(model, data, output, options, more));
    }

    /** How a command ended. */
    record Result(int status, String out, String err) {

        /** What went wrong, as it was told: the last line on standard error, and the only one about it. */
        String sentence() {
            List<String> lines = err.lines().toList();
            String last = lines.isEmpty() ? "" : lines.getLast();
            assertAll(
                    () -> assertTrue(last.startsWith("qlora: "), err),
                    () -> assertEquals(
                            1,
                            lines.stream()
                                    .filter(line -> line.startsWith("qlora: "))
                                    .count(),
                            err),
                    () -> assertFalse(err.contains("\tat ") || err.contains("Exception"), err),
                    () -> assertFalse(err.contains("An error inside qlora"), err));
            return last.substring("qlora: ".length());
        }

        /** Requires wrong use, told in a sentence that has all of {@code parts}. */
        void assertWrongUse(Object... parts) {
            assertFails(2, parts);
        }

        /** Requires a failure, told in a sentence that has all of {@code parts}. */
        void assertFailure(Object... parts) {
            assertFails(1, parts);
        }

        private void assertFails(int expected, Object... parts) {
            String sentence = sentence();
            assertEquals(expected, status, sentence);
            for (Object part : parts) {
                assertTrue(sentence.contains(part.toString()), () -> "expected \"" + part + "\" in: " + sentence);
            }
        }

        /** Requires success, and the one JSON object that is on standard output. */
        JsonNode json() throws JsonProcessingException {
            assertEquals(0, status, err);
            return new JsonMapper()
                    .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
                    .readTree(out);
        }
    }
}
