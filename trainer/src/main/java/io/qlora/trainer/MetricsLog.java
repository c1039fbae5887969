package io.qlora.trainer;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.qlora.engine.files.AtomicFiles;
import io.qlora.engine.files.FileErrors;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * {@code metrics.jsonl}: a line a step ({@code step, epoch, loss, grad_norm, learning_rate, tokens, target_tokens,
 * seconds}) and a line an evaluation ({@code step, eval_loss, eval_perplexity, eval_target_tokens, seconds}). Each is on
 * disk when the next step begins.
 *
 * <p>{@code eval_loss} is the mean over all target tokens, whatever the batches; transformers' is a mean over batches' means,
 * which is another where they have different numbers of targets.
 */
public final class MetricsLog implements TrainingListener, AutoCloseable {

    private static final JsonMapper MAPPER = new JsonMapper();

    private final Path file;
    private final BufferedWriter writer;
    private final Set<Long> evaluated = new HashSet<>(); // the steps of what was kept

    /**
     * Opens the log of a run.
     *
     * @param doneSteps what was logged of later steps by a run that is now resumed after this one is dropped
     * @throws IOException naming the file, if it cannot be written; what was in it before stays
     */
    public MetricsLog(Path file, long doneSteps) throws IOException {
        StringBuilder kept = new StringBuilder();
        if (doneSteps > 0) {
            for (JsonNode line : read(file)) {
                if (line.path("step").asLong() <= doneSteps) {
                    kept.append(line).append('\n');
                    if (line.has("eval_loss")) {
                        evaluated.add(line.path("step").asLong());
                    }
                }
            }
        }
        AtomicFiles.write(file, kept.toString());
        this.file = file;
        this.writer = Files.newBufferedWriter(file, StandardOpenOption.APPEND);
    }

    /** Whether an evaluation after this step was logged by the run that is resumed. */
    boolean hasEvaluation(long step) {
        return evaluated.contains(step);
    }

    /** The lines of a log, none if there is no such file; a line cut short by a crash is left out. */
    public static List<JsonNode> read(Path file) throws IOException {
        List<JsonNode> lines = new ArrayList<>();
        if (Files.exists(file)) {
            for (String line : Files.readAllLines(file)) {
                parse(line).ifPresent(lines::add);
            }
        }
        return lines;
    }

    private static Optional<JsonNode> parse(String line) {
        try {
            return Optional.of(MAPPER.readTree(line)).filter(JsonNode::isObject);
        } catch (JsonProcessingException e) {
            return Optional.empty();
        }
    }

    @Override
    public void onStep(StepReport report) {
        ObjectNode line = MAPPER.createObjectNode();
        line.put("step", report.step());
        line.put("epoch", report.epoch());
        line.put("loss", report.loss());
        line.put("grad_norm", report.gradNorm());
        line.put("learning_rate", report.learningRate());
        line.put("tokens", report.tokens());
        line.put("target_tokens", report.targets());
        line.put("seconds", report.seconds());
        write(line);
    }

    @Override
    public void onEvaluation(long step, Evaluation evaluation) {
        ObjectNode line = MAPPER.createObjectNode();
        line.put("step", step);
        line.put("eval_loss", evaluation.nll());
        line.put("eval_perplexity", evaluation.perplexity());
        line.put("eval_target_tokens", evaluation.targets());
        line.put("seconds", evaluation.seconds());
        write(line);
    }

    private void write(ObjectNode line) {
        try {
            writer.write(line + "\n");
            writer.flush();
        } catch (IOException e) {
            throw new UncheckedIOException(FileErrors.appending(file, e));
        }
    }

    @Override
    public void close() throws IOException {
        writer.close();
    }
}
