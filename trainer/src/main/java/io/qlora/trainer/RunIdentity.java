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
        settings.put("total_steps", totalSteps);
        put(options.training());
        settings.put("train_documents", train.size());
        settings.put("train_data_sha256", train.digest());
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
            boolean model = name.equals(MODEL);
            if (was.equals(is) || (model && !then.has(MODEL))) { // an older checkpoint does not know its model
                continue;
            }
            throw new IllegalArgumentException(checkpoint + ": was made with "
                    + (model
                            ? "another model, or this one has changed since; resume with the model it was begun with"
                            : name + " " + was + ", this run has " + is
                                    + "; resume with the options and the data it was begun with"));
        }
    }
}
