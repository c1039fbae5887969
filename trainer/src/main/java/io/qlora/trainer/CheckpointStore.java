package io.qlora.trainer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.files.AtomicFiles;
import io.qlora.engine.optim.AdamW;
import io.qlora.engine.safetensors.JsonFiles;
import io.qlora.engine.safetensors.MalformedFileException;
import io.qlora.engine.safetensors.SafetensorsFile;
import io.qlora.engine.safetensors.SafetensorsWriter;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import io.qlora.lora.LoraAdapter;
import io.qlora.lora.PeftFiles;
import io.qlora.trainer.data.DataSet;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * The checkpoints of a run, {@code checkpoint-<step>} in its output directory: a PEFT directory of the adapter as it was,
 * {@code optimizer.safetensors} (AdamW's mean and square of each parameter) and {@code trainer_state.json} (the step, and
 * what must be the same for the run to go on as if it had never stopped). Nothing random needs to be kept: all of it is a
 * function of seed and step.
 */
final class CheckpointStore implements Trainer.Checkpoints {

    private static final JsonMapper MAPPER = new JsonMapper();
    private static final String PREFIX = "checkpoint-";
    private static final String STATE = "trainer_state.json";
    private static final String OPTIMIZER = "optimizer.safetensors";

    private final Path output;
    private final LoraAdapter adapter;
    private final String baseModel;
    private final ObjectNode identity;
    private final TrainingListener listener;

    /**
     * A store.
     *
     * @param output directory of the run
     * @param baseModel name or path of the model, for adapter_config.json
     * @param totalSteps of the run
     */
    CheckpointStore(
            Path output,
            LoraAdapter adapter,
            String baseModel,
            TrainingConfig config,
            DataSet train,
            int totalSteps,
            TrainingListener listener) {
        this.output = output;
        this.adapter = adapter;
        this.baseModel = baseModel;
        this.identity = identity(config, train, totalSteps);
        this.listener = listener;
    }

    /** What decides every number of a run, beside model and adapter. */
    private static ObjectNode identity(TrainingConfig config, DataSet train, int totalSteps) {
        ObjectNode node = MAPPER.createObjectNode();
        node.put("total_steps", totalSteps);
        node.put("learning_rate", config.learningRate());
        node.put("lr_scheduler_type", config.scheduler().name().toLowerCase(Locale.ROOT));
        node.put("warmup_ratio", config.warmupRatio());
        node.put("weight_decay", config.weightDecay());
        node.put("max_grad_norm", config.maxGradNorm());
        node.put("per_device_train_batch_size", config.batchSize());
        node.put("gradient_accumulation_steps", config.gradientAccumulationSteps());
        node.put("seed", config.seed());
        node.put("train_documents", train.size());
        node.put("train_data_sha256", train.digest());
        return node;
    }

    @Override
    public void save(long step, AdamW optimizer) throws IOException {
        Path directory = output.resolve(PREFIX + step);
        AtomicFiles.writeDirectory(directory, staging -> {
            adapter.save(staging, baseModel);
            SafetensorsWriter writer = new SafetensorsWriter().metadata("format", "pt");
            for (AdamW.Slot slot : optimizer.slots()) {
                writer.add(slot.parameter().name() + ".exp_avg", slot.mean());
                writer.add(slot.parameter().name() + ".exp_avg_sq", slot.square());
            }
            writer.write(staging.resolve(OPTIMIZER));
            ObjectNode state = MAPPER.createObjectNode();
            state.put("global_step", step);
            state.set("run", identity);
            JsonFiles.write(staging.resolve(STATE), state);
        });
        listener.onCheckpoint(step, directory);
    }

    /** The checkpoint of the highest step in an output directory. */
    static Optional<Path> latest(Path output) throws IOException {
        if (!Files.isDirectory(output)) {
            return Optional.empty();
        }
        try (Stream<Path> entries = Files.list(output)) {
            return entries.filter(entry -> entry.getFileName().toString().matches(PREFIX + "\\d{1,18}"))
                    .filter(entry -> Files.isRegularFile(entry.resolve(STATE)))
                    .max(Comparator.comparingLong(CheckpointStore::stepOf));
        }
    }

    private static long stepOf(Path checkpoint) {
        return Long.parseLong(checkpoint.getFileName().toString().substring(PREFIX.length()));
    }

    /**
     * Puts parameters and optimizer back to where they were.
     *
     * @return the step after which they were
     * @throws IOException if files are missing or damaged, or the checkpoint is of another run
     */
    long restore(Path checkpoint, AdamW optimizer) throws IOException {
        Path stateFile = checkpoint.resolve(STATE);
        if (!Files.isRegularFile(stateFile)) {
            throw new MalformedFileException(checkpoint, "is no checkpoint: it has no " + STATE);
        }
        JsonNode state = JsonFiles.readObject(stateFile);
        JsonNode run = state.path("run");
        identity.properties().forEach(entry -> {
            JsonNode then = run.path(entry.getKey());
            if (!then.asText().equals(entry.getValue().asText())) {
                throw new IllegalArgumentException(checkpoint + ": was made with " + entry.getKey() + " " + then.asText()
                        + ", this run has " + entry.getValue().asText()
                        + "; resume with the options and the data it was begun with");
            }
        });
        long step = state.path("global_step").asLong(-1);
        if (step < 1) {
            throw new MalformedFileException(stateFile, "global_step should be at least 1");
        }
        try (SafetensorsFile values = SafetensorsFile.open(checkpoint.resolve(PeftFiles.WEIGHTS));
                SafetensorsFile moments = SafetensorsFile.open(checkpoint.resolve(OPTIMIZER))) {
            for (AdamW.Slot slot : optimizer.slots()) {
                Parameter parameter = slot.parameter();
                copy(values, parameter.name(), parameter.value());
                copy(moments, parameter.name() + ".exp_avg", slot.mean());
                copy(moments, parameter.name() + ".exp_avg_sq", slot.square());
            }
        }
        optimizer.resume(step);
        return step;
    }

    private static void copy(SafetensorsFile file, String name, Tensor target) throws IOException {
        Shape shape = file.entry(name).shape();
        if (!shape.equals(target.shape())) {
            throw new MalformedFileException(
                    file.path(), name + ": expected " + target.shape() + ", found " + shape);
        }
        target.set(file.readFloats(name));
    }
}
