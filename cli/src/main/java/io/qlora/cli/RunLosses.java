package io.qlora.cli;

import com.fasterxml.jackson.databind.JsonNode;
import io.qlora.trainer.MetricsLog;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;

/** The losses of a whole run, of what was done before it was resumed, too: as {@code metrics.jsonl} has them. */
final class RunLosses {

    private final List<JsonNode> steps;
    private final List<JsonNode> evaluations;

    private RunLosses(List<JsonNode> lines) {
        this.steps = lines.stream().filter(line -> line.has("loss")).toList();
        this.evaluations = lines.stream().filter(line -> line.has("eval_loss")).toList();
    }

    /** Reads them; there are none where there is no such file. */
    static RunLosses read(Path metrics) throws IOException {
        return new RunLosses(MetricsLog.read(metrics));
    }

    /** Of the last step; null if there was none. */
    Double trainLoss() {
        return steps.isEmpty() ? null : steps.getLast().get("loss").asDouble();
    }

    /** Before anything was learnt; null if that was not measured. */
    Double evalLossBefore() {
        return evaluations.stream()
                .filter(line -> line.path("step").asLong() == 0)
                .map(line -> line.get("eval_loss").asDouble())
                .findFirst()
                .orElse(null);
    }

    /** Of the last evaluation; null if there was none, as below. */
    Double evalLoss() {
        return evaluations.isEmpty()
                ? null
                : evaluations.getLast().get("eval_loss").asDouble();
    }

    Double evalPerplexity() {
        return evaluations.isEmpty()
                ? null
                : evaluations.getLast().path("eval_perplexity").asDouble();
    }

    Long evalTargetTokens() {
        return evaluations.isEmpty()
                ? null
                : evaluations.getLast().path("eval_target_tokens").asLong();
    }

    /** The picture. */
    String draw(String title) {
        return LossChart.draw(title, points(steps, "loss"), points(evaluations, "eval_loss"));
    }

    private static List<LossChart.Point> points(List<JsonNode> lines, String loss) {
        return lines.stream()
                .map(line -> new LossChart.Point(
                        line.path("step").asDouble(), line.get(loss).asDouble()))
                .toList();
    }
}
