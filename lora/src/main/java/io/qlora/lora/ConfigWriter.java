package io.qlora.lora;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** From a {@link LoraConfig} to {@code adapter_config.json}: the keys that PEFT 0.21 writes, sorted as it sorts them. */
final class ConfigWriter {

    private static final JsonNodeFactory NODES = JsonNodeFactory.instance;

    /** Of PEFT 0.21, those keys whose default is null. */
    private static final List<String> NULL = List.of(
            "alora_invocation_tokens",
            "arrow_config",
            "auto_mapping",
            "base_model_name_or_path",
            "corda_config",
            "eva_config",
            "exclude_modules",
            "kasa_config",
            "layer_replication",
            "layers_pattern",
            "layers_to_transform",
            "lora_ga_config",
            "megatron_config",
            "modules_to_save",
            "monteclora_config",
            "revision",
            "target_modules",
            "target_parameters",
            "trainable_token_indices",
            "use_bdlora",
            "velora_config");

    private static final List<String> FALSE =
            List.of("ensure_weight_tying", "fan_in_fan_out", "lora_bias", "use_dora", "use_qalora", "use_rslora");

    private static final List<String> EMPTY = List.of("alpha_pattern", "loftq_config", "rank_pattern");

    private ConfigWriter() {}

    /** What PEFT 0.21 writes of a {@code LoraConfig} that nothing was set in, but for a causal language model. */
    static ObjectNode defaults() {
        ObjectNode json = NODES.objectNode();
        NULL.forEach(json::putNull);
        FALSE.forEach(key -> json.put(key, false));
        EMPTY.forEach(json::putObject);
        return json.put("bias", "none")
                .put("inference_mode", true)
                .put("init_lora_weights", true)
                .put("lora_alpha", 8)
                .put("lora_dropout", 0.0)
                .put("megatron_core", "megatron.core")
                .put("peft_type", "LORA")
                .put("peft_version", "0.21.0")
                .put("qalora_group_size", 16)
                .put("r", 8)
                .put("task_type", "CAUSAL_LM");
    }

    /**
     * The file's content.
     *
     * @param targets what to write for {@link TargetModules.AllLinear}: as in PEFT, the names that it stood for
     */
    static ObjectNode toJson(LoraConfig config, List<String> targets) {
        ObjectNode json = defaults();
        json.put("base_model_name_or_path", config.baseModelNameOrPath());
        json.put("r", config.r());
        json.set("lora_alpha", number(config.loraAlpha()));
        json.put("lora_dropout", config.loraDropout());
        json.put("use_rslora", config.useRslora());
        switch (config.targetModules()) {
            case TargetModules.Names names -> names.names().forEach(json.putArray("target_modules")::add);
            case TargetModules.Regex regex -> json.put("target_modules", regex.pattern());
            case TargetModules.AllLinear _ -> targets.forEach(json.putArray("target_modules")::add);
        }
        config.rankPattern().forEach(json.putObject("rank_pattern")::put);
        ObjectNode alphas = json.putObject("alpha_pattern");
        config.alphaPattern().forEach((key, alpha) -> alphas.set(key, number(alpha)));
        if (!config.layersToTransform().isEmpty()) {
            config.layersToTransform().forEach(json.putArray("layers_to_transform")::add);
        }
        if (!config.layersPattern().isEmpty()) {
            config.layersPattern().forEach(json.putArray("layers_pattern")::add);
        }
        return sorted(json);
    }

    /** PEFT has whole numbers where it can. */
    static JsonNode number(double value) {
        boolean whole = value == Math.rint(value) && Math.abs(value) < Integer.MAX_VALUE;
        return whole ? NODES.numberNode((int) value) : NODES.numberNode(value);
    }

    private static ObjectNode sorted(ObjectNode json) {
        Map<String, JsonNode> fields = new TreeMap<>();
        json.properties().forEach(field -> fields.put(field.getKey(), field.getValue()));
        ObjectNode sorted = NODES.objectNode();
        fields.forEach(sorted::set);
        return sorted;
    }
}
