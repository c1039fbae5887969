package io.qlora.lora;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.qlora.engine.safetensors.JsonFiles;
import io.qlora.engine.safetensors.MalformedFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import java.util.function.Predicate;

/**
 * From {@code adapter_config.json} to a {@link LoraConfig}, strictly: what is not supported passes silently where it says
 * nothing (null, false, empty, PEFT's default), is an error where it changes what the adapter computes, else a warning.
 */
final class ConfigReader {

    private static final String PEFT_TYPE = "peft_type";
    private static final String TARGET_MODULES = "target_modules";
    private static final String INIT = "init_lora_weights";

    /** What is read, and what says nothing about the adapter's values (QA-LoRA's group size does only with QA-LoRA). */
    private static final Set<String> SUPPORTED = Set.of(
            "alpha_pattern",
            "auto_mapping",
            "base_model_name_or_path",
            "inference_mode",
            "layers_pattern",
            "layers_to_transform",
            "lora_alpha",
            "lora_dropout",
            PEFT_TYPE,
            "peft_version",
            "qalora_group_size",
            "r",
            "rank_pattern",
            "revision",
            TARGET_MODULES,
            "task_type",
            "use_rslora");

    /** Keys that select another formula, another base, or more that is trained. */
    private static final Set<String> CHANGES_FORMULA = Set.of(
            "alora_invocation_tokens",
            "arrow_config",
            "bias",
            "ensure_weight_tying",
            "exclude_modules",
            "fan_in_fan_out",
            "kasa_config",
            "layer_replication",
            "lora_bias",
            "modules_to_save",
            "monteclora_config",
            "target_parameters",
            "trainable_token_indices",
            "use_bdlora",
            "use_dora",
            "use_qalora");

    /** Initialisations that leave the base as it is: those of others, such as PiSSA's, go with a base of their own. */
    private static final Set<String> HARMLESS_INITS = Set.of("true", "false", "gaussian", "orthogonal", "eva", "mica");

    private final Path file;
    private final ObjectNode json;
    private final List<String> warnings = new ArrayList<>();

    ConfigReader(Path file, ObjectNode json) {
        this.file = file;
        this.json = json;
    }

    /** What {@link #read} found that is ignored, a sentence each. */
    List<String> warnings() {
        return warnings;
    }

    LoraConfig read() throws MalformedFileException {
        if (!json.path(PEFT_TYPE).asText().equals("LORA")) {
            throw bad(PEFT_TYPE, "\"LORA\", the only kind of adapter that is supported");
        }
        for (Map.Entry<String, JsonNode> field : json.properties()) {
            if (!SUPPORTED.contains(field.getKey()) && !saysNothing(field.getKey(), field.getValue())) {
                unsupported(field.getKey(), field.getValue());
            }
        }
        LoraConfig.Builder builder = LoraConfig.builder().targetModules(targetModules());
        if (has("r")) {
            builder.r(whole("r", json.get("r")));
        }
        if (has("lora_alpha")) {
            builder.loraAlpha(number("lora_alpha", json.get("lora_alpha")));
        }
        if (has("lora_dropout")) {
            builder.loraDropout(number("lora_dropout", json.get("lora_dropout")));
        }
        if (has("use_rslora")) {
            builder.useRslora(
                    check("use_rslora", JsonNode::isBoolean, "true or false").booleanValue());
        }
        if (has("base_model_name_or_path")) {
            builder.baseModelNameOrPath(check("base_model_name_or_path", JsonNode::isTextual, "a string")
                    .textValue());
        }
        builder.rankPattern(pattern("rank_pattern", this::whole));
        builder.alphaPattern(pattern("alpha_pattern", this::number));
        builder.layersToTransform(list("layers_to_transform", this::whole));
        builder.layersPattern(list("layers_pattern", this::text));
        try {
            return builder.build();
        } catch (IllegalArgumentException e) {
            throw new MalformedFileException(file, e.getMessage(), e);
        }
    }

    private boolean saysNothing(String key, JsonNode value) {
        return value.isNull()
                || (value.isBoolean() && !value.booleanValue())
                || (value.isTextual() && value.textValue().isEmpty())
                || (value.isContainerNode() && value.isEmpty())
                || value.equals(ConfigWriter.defaults().get(key))
                || (key.equals(INIT) && HARMLESS_INITS.contains(value.asText()));
    }

    // A key that PEFT has brought since: by its custom, use_… and …_config select a variant of LoRA.
    private void unsupported(String key, JsonNode value) throws MalformedFileException {
        boolean known = ConfigWriter.defaults().has(key);
        boolean variant = !known && (key.startsWith("use_") || key.endsWith("_config"));
        if (CHANGES_FORMULA.contains(key) || variant || key.equals(INIT)) {
            throw new MalformedFileException(
                    file,
                    key + " is " + JsonFiles.describe(value)
                            + ", which changes what the adapter computes and is not supported: only plain LoRA and rsLoRA"
                            + " are; have PEFT merge it into its base, with merge_and_unload, and use that model");
        }
        warnings.add(file + ": " + key + " is " + JsonFiles.describe(value) + ", which is not supported and ignored");
    }

    private TargetModules targetModules() throws MalformedFileException {
        JsonNode node = json.path(TARGET_MODULES);
        try {
            if (node.isTextual()) {
                boolean all = node.textValue().equalsIgnoreCase(TargetModules.ALL_LINEAR);
                return all ? new TargetModules.AllLinear() : new TargetModules.Regex(node.textValue());
            }
            if (node.isArray()) {
                return new TargetModules.Names(list(TARGET_MODULES, this::text));
            }
        } catch (IllegalArgumentException e) {
            throw new MalformedFileException(file, e.getMessage(), e);
        }
        throw bad(TARGET_MODULES, "a list of names, a regular expression or \"" + TargetModules.ALL_LINEAR + "\"");
    }

    /** Reads an element of the field {@code key}. */
    @FunctionalInterface
    private interface Element<T> {
        T read(String key, JsonNode node) throws MalformedFileException;
    }

    private <T> Map<String, T> pattern(String key, Element<T> element) throws MalformedFileException {
        Map<String, T> pattern = new LinkedHashMap<>();
        if (has(key)) {
            for (Map.Entry<String, JsonNode> field :
                    check(key, JsonNode::isObject, "an object").properties()) {
                pattern.put(field.getKey(), element.read(key + " of " + field.getKey(), field.getValue()));
            }
        }
        return pattern;
    }

    /** A list, or a single element in place of one. */
    private <T> List<T> list(String key, Element<T> element) throws MalformedFileException {
        List<T> list = new ArrayList<>();
        if (has(key)) {
            for (JsonNode node : json.get(key).isArray() ? json.get(key) : List.of(json.get(key))) {
                list.add(element.read(key, node));
            }
        }
        return list;
    }

    private int whole(String key, JsonNode node) throws MalformedFileException {
        return read(key, node, n -> n.isIntegralNumber() && n.canConvertToInt(), JsonNode::intValue, "a whole number");
    }

    private double number(String key, JsonNode node) throws MalformedFileException {
        return read(key, node, JsonNode::isNumber, JsonNode::doubleValue, "a number");
    }

    private String text(String key, JsonNode node) throws MalformedFileException {
        return read(key, node, JsonNode::isTextual, JsonNode::textValue, "a string");
    }

    private <T> T read(String key, JsonNode node, Predicate<JsonNode> is, Function<JsonNode, T> value, String expected)
            throws MalformedFileException {
        if (!is.test(node)) {
            throw new MalformedFileException(
                    file, key + " should be " + expected + ", found " + JsonFiles.describe(node));
        }
        return value.apply(node);
    }

    private boolean has(String key) {
        return json.hasNonNull(key);
    }

    private JsonNode check(String key, Predicate<JsonNode> is, String expected) throws MalformedFileException {
        return read(key, json.path(key), is, node -> node, expected);
    }

    private MalformedFileException bad(String key, String expected) {
        return new MalformedFileException(
                file, key + " should be " + expected + ", found " + JsonFiles.describe(json.path(key)));
    }
}
