package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.file.NoSuchFileException;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;
import picocli.CommandLine.Command;

class QloraCommandTest {

    private final StringWriter out = new StringWriter();
    private final StringWriter err = new StringWriter();

    @Test
    void doctorReportsOneJsonObject() throws IOException {
        assertEquals(0, run("doctor", "--json"));

        JsonNode report = new ObjectMapper().readTree(out.toString());
        assertEquals(Runtime.version().toString(), report.get("jdk").asText());
        assertTrue(report.get("vector_module").asBoolean());
        assertTrue(report.get("vector_bits").asInt() >= 64);
        assertEquals(
                Runtime.getRuntime().availableProcessors(),
                report.get("processors").asInt());
        assertTrue(report.get("max_heap_bytes").asLong()
                <= report.get("memory_bytes").asLong());
        assertEquals("", err.toString());
    }

    @Test
    void wrongUseIsOneSentenceAndExitCode2() {
        assertEquals(2, run("doctor", "--jsn"));
        assertOneSentence("qlora: Unknown option: '--jsn'; is it --json? (qlora doctor --help shows what there is)");
    }

    @Test
    void noCommandIsWrongUse() {
        assertEquals(2, run());
        assertTrue(err.toString().startsWith("qlora: Which command? One of "), err.toString());
        assertFalse(err.toString().contains("make-demo-model"), err.toString());
    }

    @Test
    void helpIsACommandToo() {
        assertEquals(0, run("help", "train"));
        assertTrue(out.toString().startsWith("Usage: qlora train"), out.toString());
    }

    @Test
    void aUsageExceptionIsExitCode2() {
        assertEquals(2, runFailing(new UsageException("--max-steps and --num-train-epochs: give one of them")));
        assertOneSentence("qlora: --max-steps and --num-train-epochs: give one of them");
    }

    @Test
    void aFailureIsOneSentenceAndExitCode1() {
        assertEquals(1, runFailing(new UncheckedIOException(new NoSuchFileException("no/such.jsonl"))));
        assertOneSentence("qlora: no/such.jsonl: there is no such file or folder");
    }

    @Test
    void aMistakeOfTheProgramSaysSo() {
        assertEquals(1, runFailing(new IndexOutOfBoundsException("Index 3 out of bounds for length 3")));
        assertOneSentence("qlora: An error inside qlora, java.lang.IndexOutOfBoundsException:"
                + " Index 3 out of bounds for length 3; --verbose shows where");
    }

    @Test
    void anErrorOfTheJvmIsExitCode1() {
        assertEquals(1, runFailing(new OutOfMemoryError("Java heap space")));
        assertOneSentence(
                "qlora: The Java heap is too small (Java heap space): give it more with java -Xmx, for example -Xmx8g");
    }

    @Test
    void aMessageOfSeveralLinesBecomesOne() {
        assertEquals(1, runFailing(new IOException("first\n  second\n")));
        assertOneSentence("qlora: first second");
    }

    @Test
    void verboseShowsWhere() {
        assertEquals(1, runFailing(new IOException("broken"), "--verbose"));
        assertTrue(err.toString().startsWith("qlora: broken" + System.lineSeparator() + "java.io.IOException: broken"));
        assertTrue(err.toString().contains("at io.qlora.cli.QloraCommandTest"));
    }

    private int run(String... args) {
        return run(QloraCommand.commandLine(), args);
    }

    private int runFailing(Throwable failure, String... options) {
        CommandLine command = QloraCommand.commandLine().addSubcommand(new Failing(failure));
        String[] args = new String[options.length + 1];
        args[0] = "fail";
        System.arraycopy(options, 0, args, 1, options.length);
        return run(command, args);
    }

    private int run(CommandLine command, String... args) {
        return command.setOut(new PrintWriter(out)).setErr(new PrintWriter(err)).execute(args);
    }

    private void assertOneSentence(String sentence) {
        assertEquals(sentence + System.lineSeparator(), err.toString());
        assertEquals("", out.toString());
    }

    @Command(name = "fail")
    private static final class Failing implements Runnable {
        private final Throwable failure;

        Failing(Throwable failure) {
            this.failure = failure;
        }

        @Override
        public void run() {
            throw sneaky(failure);
        }

        @SuppressWarnings("unchecked")
        private static <T extends Throwable> T sneaky(Throwable failure) throws T {
            throw (T) failure;
        }
    }
}
