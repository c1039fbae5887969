package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.qlora.trainer.Evaluation;
import io.qlora.trainer.StepReport;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** What is said of a run where there is no terminal, by a clock that the test turns. */
class ReporterTest {

    private final StringWriter out = new StringWriter();
    private long now = 1; // nanoseconds

    private Reporter reporter(int loggingSteps, int evalSteps) {
        return new Reporter(new PrintWriter(out), null, false, loggingSteps, evalSteps, () -> now);
    }

    private void step(Reporter reporter, long step, int total, double seconds) {
        now += Math.round(seconds * 1e9);
        reporter.onStep(new StepReport(step, total, 1, 2, 1, 1e-3, 100, 20, seconds));
    }

    private void batch(Reporter reporter, long tokens, double seconds) {
        now += Math.round(seconds * 1e9);
        reporter.onEvaluating(tokens, 1000);
    }

    private List<String> lines(String... beginnings) {
        return out.toString()
                .lines()
                .filter(line -> Stream.of(beginnings).anyMatch(line::startsWith))
                .toList();
    }

    @Test
    void theFirstStepIsToldAndEveryFewFromThenOn() {
        Reporter reporter = reporter(10, 0);
        for (long step = 1; step <= 25; step++) {
            step(reporter, step, 25, 1);
        }
        assertEquals(List.of("step 1/25", "step 10/25", "step 20/25", "step 25/25"), numbers());
    }

    private List<String> numbers() {
        return lines("step ").stream()
                .map(line -> line.substring(0, line.indexOf("  ")))
                .toList();
    }

    @Test
    void noMinuteIsWithoutALine() {
        Reporter reporter = reporter(10, 0);
        for (long step = 1; step <= 9; step++) {
            step(reporter, step, 1000, 25);
        }
        assertEquals(List.of("step 1/1000", "step 4/1000", "step 7/1000"), numbers());
    }

    @Test
    void theStepThatCompilesDoesNotCountInWhatIsLeft() {
        Reporter reporter = reporter(1, 0);
        step(reporter, 1, 50, 10);
        step(reporter, 2, 50, 0.6);
        step(reporter, 3, 50, 0.5);
        step(reporter, 4, 50, 0.5);
        List<String> said = lines("step ");
        assertEquals("step 1/50  epoch 1.00  loss 2.0000  lr 1.00e-03  0:10 for this step", said.getFirst());
        assertEquals("step 4/50  epoch 1.00  loss 2.0000  lr 1.00e-03  200 tokens/s  0:23 left", said.getLast());
    }

    @Test
    void evaluationsCountInWhatIsLeft() {
        Reporter reporter = reporter(1, 10);
        reporter.onEvaluation(0, new Evaluation(2, 10, 10, 60));
        step(reporter, 1, 40, 10);
        for (long step = 2; step <= 30; step++) {
            step(reporter, step, 40, 1);
        }
        List<String> said = lines("step ");
        assertEquals("4:38 left", said.get(1).replaceAll(".*  ", "")); // 38 s, and after 10, 20, 30 and 40 a minute
        assertEquals("4:30 left", said.get(9).replaceAll(".*  ", "")); // the one after 10 is still to come
        assertEquals("3:29 left", said.get(10).replaceAll(".*  ", ""));
        assertEquals("2:10 left", said.getLast().replaceAll(".*  ", ""));
    }

    @Test
    void anEvaluationInWhichCodeIsCompiledIsNotExpectedAgain() {
        Reporter reporter = reporter(1, 0);
        batch(reporter, 0, 0);
        batch(reporter, 250, 30);
        batch(reporter, 500, 2);
        batch(reporter, 750, 1);
        batch(reporter, 1000, 1);
        reporter.onEvaluation(0, new Evaluation(2, 10, 1000, 34));
        step(reporter, 1, 12, 10);
        step(reporter, 2, 12, 1);
        assertEquals("0:14 left", lines("step ").getLast().replaceAll(".*  ", ""));
    }

    @Test
    void anEvaluationIsToldAsItBeginsAndEveryTenSeconds() {
        Reporter reporter = reporter(10, 0);
        batch(reporter, 0, 0);
        batch(reporter, 100, 12);
        batch(reporter, 200, 4);
        batch(reporter, 300, 4);
        batch(reporter, 400, 4);
        batch(reporter, 1000, 12);
        assertEquals(
                List.of(
                        "eval     of 1,000 tokens has begun",
                        "eval     100 of 1,000 tokens",
                        "eval     400 of 1,000 tokens  25 tokens/s  0:24 left"),
                lines("eval "));
    }

    @Test
    void furtherEvaluationsAreToldOnlyWhereTheyAreLong() {
        Reporter reporter = reporter(10, 0);
        for (int i = 0; i < 3; i++) {
            batch(reporter, 0, 0);
            batch(reporter, 500, 1);
            batch(reporter, 1000, 1);
        }
        assertEquals(1, lines("eval ").size());
        batch(reporter, 0, 0);
        batch(reporter, 500, 11);
        assertEquals(2, lines("eval ").size());
    }
}
