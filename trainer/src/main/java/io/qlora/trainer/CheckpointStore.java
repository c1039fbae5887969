package io.qlora.trainer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.files.AtomicFiles;
import io.qlora.engine.files.FileErrors;
import io.qlora.engine.optim.AdamW;
import io.qlora.engine.safetensors.JsonFiles;
import io.qlora.engine.safetensors.MalformedFileException;
import io.qlora.engine.safetensors.SafetensorsFile;
import io.qlora.engine.safetensors.SafetensorsWriter;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import io.qlora.lora.LoraAdapter;
import io.qlora.lora.PeftFiles;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
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
    private final RunIdentity identity;
    private final TrainingListener listener;
    private long saved; // the last step; 0 for none

    /**
     * A store.
     *
     * @param output directory of the run
     * @param baseModel name or path of the model, for adapter_config.json
     * @param identity of the run
     */
    CheckpointStore(
            Path output, LoraAdapter adapter, String baseModel, RunIdentity identity, TrainingListener listener) {
        this.output = output;
        this.adapter = adapter;
        this.baseModel = baseModel;
        this.identity = identity;
        this.listener = listener;
    }

    @Override
    public void save(long step, AdamW optimizer) throws IOException {
        if (step == saved) { // the run was told to stop where a checkpoint was due
            return;
        }
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
            state.set("run", identity.toJson());
            JsonFiles.write(staging.resolve(STATE), state);
        });
        saved = step;
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
     * Looks at a checkpoint before anything is loaded: whether it is whole, and of the run that is to go on.
     *
     * @param identity of that run
     * @return the step after which it was made
     * @throws IOException naming the file, if one is missing or damaged
     * @throws IllegalArgumentException naming the setting, if the checkpoint is of another run
     */
    static long check(Path checkpoint, RunIdentity identity) throws IOException {
        FileErrors.requireDirectory(checkpoint);
        Path stateFile = checkpoint.resolve(STATE);
        if (!Files.isRegularFile(stateFile)) {
            throw new MalformedFileException(
                    checkpoint,
                    "expected a checkpoint, found no " + STATE + " in it: name one of a run's " + PREFIX + "… folders");
        }
        JsonNode state = JsonFiles.readObject(stateFile);
        identity.requireSame(state.path("run"), checkpoint);
        JsonNode step = state.path("global_step");
        long total = identity.totalSteps();
        if (!step.isIntegralNumber() || step.asLong() < 1 || step.asLong() > total) {
            throw new MalformedFileException(
                    stateFile,
                    "global_step should be from 1 to the run's " + total + " steps, found " + JsonFiles.describe(step));
        }
        for (String file : List.of(PeftFiles.WEIGHTS, OPTIMIZER)) {
            SafetensorsFile.open(checkpoint.resolve(file)).close();
        }
        return step.asLong();
    }

    /**
     * Puts parameters and optimizer back to where they were after {@code step}.
     *
     * @throws IOException naming file and tensor, if one is missing or of another shape
     */
    static void restore(Path checkpoint, long step, AdamW optimizer) throws IOException {
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
    }

    private static void copy(SafetensorsFile file, String name, Tensor target) throws IOException {
        Shape shape = file.entry(name).shape();
        if (!shape.equals(target.shape())) {
            throw new MalformedFileException(file.path(), name + ": expected " + target.shape() + ", found " + shape);
        }
        target.set(file.readFloats(name));
    }
}
