package io.qlora.trainer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.qlora.lora.LoraConfig;
import io.qlora.lora.TargetModules;
import io.qlora.trainer.data.DataSet;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Map;

/**
 * What decides every number of a run, of the model's weights a digest. A checkpoint keeps it, so that it is resumed only by the
 * run it is of.
 */
final class RunIdentity {

    private static final String MODEL = "model_digest";
    private static final String DOCUMENTS = "train_documents";
    private static final String DATA = "train_data_sha256";
    private static final String STEPS = "total_steps";

    private static final String RESUME_WITH_DATA =
            "; resume with the data, maxLength, evalSplit and completionOnly it was begun with";

    /** What sets the others, by their names in a checkpoint: of LoraConfig, LoadOptions and TrainingConfig. */
    private static final Map<String, String> SETTINGS = Map.ofEntries(
            Map.entry("lora_r", "LoraConfig.r"),
            Map.entry("lora_alpha", "loraAlpha"),
            Map.entry("lora_dropout", "loraDropout"),
            Map.entry("use_rslora", "useRslora"),
            Map.entry("target_modules", "targetModules"),
            Map.entry("rank_pattern", "rankPattern"),
            Map.entry("alpha_pattern", "alphaPattern"),
            Map.entry("layers_to_transform", "layersToTransform"),
            Map.entry("layers_pattern", "layersPattern"),
            Map.entry("quantization", "LoadOptions.quantization"),
            Map.entry("double_quant", "doubleQuant"),
            Map.entry("learning_rate", "learningRate"),
            Map.entry("lr_scheduler_type", "scheduler"),
            Map.entry("warmup_ratio", "warmupRatio"),
            Map.entry("weight_decay", "weightDecay"),
            Map.entry("max_grad_norm", "maxGradNorm"),
            Map.entry("per_device_train_batch_size", "batchSize"),
            Map.entry("gradient_accumulation_steps", "gradientAccumulationSteps"),
            Map.entry("seed", "TrainingConfig.seed"));

    private final ObjectNode settings = new JsonMapper().createObjectNode();
    private final int totalSteps;

    /**
     * The identity of a run on {@code train}.
     *
     * @param model its {@link ModelDigest}
     */
    RunIdentity(RunOptions options, String model, DataSet train, int totalSteps) {
        this.totalSteps = totalSteps;
        settings.put(MODEL, model);
        put(options.lora());
        settings.put("quantization", options.load().quantization().name().toLowerCase(Locale.ROOT));
        settings.put("double_quant", options.load().doubleQuant());
        put(options.training());
        settings.put(DOCUMENTS, train.size());
        settings.put(DATA, train.digest());
        settings.put(STEPS, totalSteps); // last: where it differs, nothing else that it follows from does
    }

    private void put(LoraConfig lora) {
        settings.put("lora_r", lora.r());
        settings.put("lora_alpha", lora.loraAlpha());
        settings.put("lora_dropout", lora.loraDropout());
        settings.put("use_rslora", lora.useRslora());
        settings.put(
                "target_modules",
                switch (lora.targetModules()) {
                    case TargetModules.AllLinear _ -> TargetModules.ALL_LINEAR;
                    case TargetModules.Names names -> String.join(",", names.names());
                    case TargetModules.Regex regex -> regex.pattern();
                });
        settings.put("rank_pattern", lora.rankPattern().toString());
        settings.put("alpha_pattern", lora.alphaPattern().toString());
        settings.put("layers_to_transform", lora.layersToTransform().toString());
        settings.put("layers_pattern", lora.layersPattern().toString());
    }

    private void put(TrainingConfig config) {
        settings.put("learning_rate", config.learningRate());
        settings.put("lr_scheduler_type", config.scheduler().name().toLowerCase(Locale.ROOT));
        settings.put("warmup_ratio", config.warmupRatio());
        settings.put("weight_decay", config.weightDecay());
        settings.put("max_grad_norm", config.maxGradNorm());
        settings.put("per_device_train_batch_size", config.batchSize());
        settings.put("gradient_accumulation_steps", config.gradientAccumulationSteps());
        settings.put("seed", config.seed());
    }

    /** Optimizer steps of the run. */
    int totalSteps() {
        return totalSteps;
    }

    /** As a checkpoint keeps it. */
    ObjectNode toJson() {
        return settings;
    }

    /**
     * Requires that a checkpoint is of this run.
     *
     * @param then what it keeps
     * @throws IllegalArgumentException if it is of another model, or naming the first setting that differs
     */
    void requireSame(JsonNode then, Path checkpoint) {
        for (Map.Entry<String, JsonNode> setting : settings.properties()) {
            String name = setting.getKey();
            String was = then.path(name).asText("nothing");
            String is = setting.getValue().asText();
            if (was.equals(is)
                    || (name.equals(MODEL) && !then.has(MODEL))) { // an older checkpoint does not know its model
                continue;
            }
            throw new IllegalArgumentException(checkpoint + ": was made with " + difference(name, was, is));
        }
    }

    private static String difference(String name, String was, String is) {
        return switch (name) {
            case MODEL -> "another model, or this one has changed since; resume with the model it was begun with";
            case DOCUMENTS -> was + " documents to learn from, this run has " + is + RESUME_WITH_DATA;
            case DATA -> "other documents, or with these tokenised otherwise" + RESUME_WITH_DATA;
            case STEPS ->
                was + " steps in all, this run has " + is
                        + "; resume with the maxSteps or numTrainEpochs it was begun with";
            default ->
                SETTINGS.get(name) + " " + was + ", this run has " + is
                        + "; resume with the options and the data it was begun with";
        };
    }
}
