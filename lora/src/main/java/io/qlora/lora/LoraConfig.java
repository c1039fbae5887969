package io.qlora.lora;

import java.math.BigInteger;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What a LoRA adapter is, in PEFT's names and, but for the targets, with PEFT's defaults.
 *
 * @param r the rank; default 8
 * @param loraAlpha the adapter is scaled by {@code alpha / r}; default 8, which does not follow {@code r}
 * @param loraDropout the probability of an element of the adapter's input to be dropped in training, from 0 to below 1;
 *     default 0
 * @param targetModules which linears are adapted; default all of them, as QLoRA has it (PEFT's own default for Llama is
 *     {@code q_proj} and {@code v_proj})
 * @param useRslora whether to scale by {@code alpha / √r} instead (Kalajdzievski 2023); default false
 * @param rankPattern ranks that differ from {@code r}: by a regular expression, of Python's dialect, that a module's name
 *     ends in, the first that does counts; default none
 * @param alphaPattern the same for {@code loraAlpha}
 * @param layersToTransform the numbers of the layers to adapt, only with {@link TargetModules.Names}; empty, the default, is
 *     all
 * @param layersPattern what a layer's number follows in a name, such as {@code layers}: regular expressions, of Python's
 *     dialect and of one alternative each; empty, the default, is anything
 * @param baseModelNameOrPath what it adapts, as its files say; may be null
 */
public record LoraConfig(
        int r,
        double loraAlpha,
        double loraDropout,
        TargetModules targetModules,
        boolean useRslora,
        Map<String, Integer> rankPattern,
        Map<String, Double> alphaPattern,
        List<Integer> layersToTransform,
        List<String> layersPattern,
        String baseModelNameOrPath) {

    /** The first number that is a part of a name: a layer's, not an expert's in it. */
    private static final Pattern ANY_LAYER = Pattern.compile(".*?\\.[^.]*\\.(?<idx>\\d+)\\.");

    /** @throws IllegalArgumentException naming what is out of range or does not go together */
    public LoraConfig {
        require(r >= 1, "r", "at least 1", r);
        require(Double.isFinite(loraAlpha), "lora_alpha", "a finite number", loraAlpha);
        require(loraDropout >= 0 && loraDropout < 1, "lora_dropout", "from 0 to below 1", loraDropout);
        rankPattern = Collections.unmodifiableMap(new LinkedHashMap<>(rankPattern));
        alphaPattern = Collections.unmodifiableMap(new LinkedHashMap<>(alphaPattern));
        rankPattern.forEach((key, rank) -> {
            Patterns.end("rank_pattern", key);
            require(rank >= 1, "rank_pattern of " + key, "at least 1", rank);
        });
        alphaPattern.forEach((key, alpha) -> {
            Patterns.end("alpha_pattern", key);
            require(Double.isFinite(alpha), "alpha_pattern of " + key, "a finite number", alpha);
        });
        layersToTransform = List.copyOf(layersToTransform);
        layersPattern = List.copyOf(layersPattern);
        layersPattern.forEach(pattern -> Patterns.layer("layers_pattern", pattern));
        boolean named = targetModules instanceof TargetModules.Names;
        require(
                layersToTransform.isEmpty() || named,
                "layers_to_transform",
                "used only when target_modules is a list of names",
                layersToTransform);
        require(
                layersPattern.isEmpty() || !layersToTransform.isEmpty(),
                "layers_pattern",
                "used only together with layers_to_transform",
                layersPattern);
    }

    private static void require(boolean condition, String key, String expected, Object found) {
        if (!condition) {
            throw new IllegalArgumentException(key + " should be " + expected + ", found " + found);
        }
    }

    /** Whether the linear of this full name gets an adapter. */
    public boolean targets(String module) {
        if (!targetModules.matches(module)) {
            return false;
        }
        // As in PEFT, a name given in full is meant whatever its layer.
        boolean inFull = targetModules instanceof TargetModules.Names names
                && names.names().contains(module);
        return inFull || layersToTransform.isEmpty() || inLayers(module);
    }

    private boolean inLayers(String module) {
        List<Pattern> patterns = layersPattern.isEmpty()
                ? List.of(ANY_LAYER)
                : layersPattern.stream()
                        .map(pattern -> Patterns.layer("layers_pattern", pattern))
                        .toList();
        return patterns.stream()
                .map(pattern -> pattern.matcher(module))
                .filter(Matcher::lookingAt)
                .findFirst()
                .map(matcher -> matcher.group("idx"))
                .map(BigInteger::new) // of any length, such as a timestamp's
                .filter(layer ->
                        layersToTransform.stream().map(BigInteger::valueOf).anyMatch(layer::equals))
                .isPresent();
    }

    /** R of the adapter on this module. */
    public int rank(String module) {
        return first("rank_pattern", rankPattern, module, r);
    }

    /** Alpha of the adapter on this module. */
    public double alpha(String module) {
        return first("alpha_pattern", alphaPattern, module, loraAlpha);
    }

    /** What the adapter on this module is multiplied by: alpha/R, or alpha/√R. */
    public float scale(String module) {
        int rank = rank(module);
        return (float) (alpha(module) / (useRslora ? Math.sqrt(rank) : rank));
    }

    private static <T> T first(String where, Map<String, T> byPattern, String module, T otherwise) {
        for (Map.Entry<String, T> entry : byPattern.entrySet()) {
            if (Patterns.end(where, entry.getKey()).matcher(module).lookingAt()) {
                return entry.getValue();
            }
        }
        return otherwise;
    }

    /** A builder at the defaults. */
    public static Builder builder() {
        return new Builder();
    }

    /** A builder at this configuration. */
    public Builder toBuilder() {
        return new Builder()
                .r(r)
                .loraAlpha(loraAlpha)
                .loraDropout(loraDropout)
                .targetModules(targetModules)
                .useRslora(useRslora)
                .rankPattern(rankPattern)
                .alphaPattern(alphaPattern)
                .layersToTransform(layersToTransform)
                .layersPattern(layersPattern)
                .baseModelNameOrPath(baseModelNameOrPath);
    }

    /** Sets the components of a {@link LoraConfig} one by one. */
    public static final class Builder {

        private int r = 8;
        private double loraAlpha = 8;
        private double loraDropout;
        private TargetModules targetModules = new TargetModules.AllLinear();
        private boolean useRslora;
        private Map<String, Integer> rankPattern = Map.of();
        private Map<String, Double> alphaPattern = Map.of();
        private List<Integer> layersToTransform = List.of();
        private List<String> layersPattern = List.of();
        private String baseModelNameOrPath;

        private Builder() {}

        public Builder r(int value) {
            r = value;
            return this;
        }

        public Builder loraAlpha(double value) {
            loraAlpha = value;
            return this;
        }

        public Builder loraDropout(double value) {
            loraDropout = value;
            return this;
        }

        public Builder targetModules(TargetModules value) {
            targetModules = value;
            return this;
        }

        /** Names; or one string, which may also be {@code all-linear} or a regular expression. */
        public Builder targetModules(String... names) {
            return targetModules(names.length == 1 ? TargetModules.parse(names[0]) : TargetModules.of(names));
        }

        public Builder useRslora(boolean value) {
            useRslora = value;
            return this;
        }

        public Builder rankPattern(Map<String, Integer> value) {
            rankPattern = value;
            return this;
        }

        public Builder alphaPattern(Map<String, Double> value) {
            alphaPattern = value;
            return this;
        }

        public Builder layersToTransform(List<Integer> value) {
            layersToTransform = value;
            return this;
        }

        public Builder layersPattern(List<String> value) {
            layersPattern = value;
            return this;
        }

        public Builder baseModelNameOrPath(String value) {
            baseModelNameOrPath = value;
            return this;
        }

        /** @throws IllegalArgumentException as {@link LoraConfig}'s constructor */
        public LoraConfig build() {
            return new LoraConfig(
                    r,
                    loraAlpha,
                    loraDropout,
                    targetModules,
                    useRslora,
                    rankPattern,
                    alphaPattern,
                    layersToTransform,
                    layersPattern,
                    baseModelNameOrPath);
        }
    }
}
