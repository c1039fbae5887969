package io.qlora.lora;

import io.qlora.engine.nn.AdaptableLinear;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * The linears of a model that a configuration means.
 *
 * @param sites of the model's linears, counted over all of them: their index in it keys what is random in their adapters
 */
record Targets(List<? extends AdaptableLinear> linears, List<Integer> sites) {

    private static final List<String> OUTSIDE = List.of("lm_head", "model.embed_tokens");

    /** Elements of a matrix, which also pass through an array. */
    private static final int LARGEST = Integer.MAX_VALUE - 8;

    /** What is beside the linears in a Llama's modules, by the last part of the name of the module they are in. */
    private static final Map<String, List<String>> BESIDE = Map.of(
            "model", List.of("norm", "rotary_emb"),
            "layer", List.of("input_layernorm", "post_attention_layernorm"),
            "mlp", List.of("act_fn"));

    /**
     * The linears that {@code config} means.
     *
     * @throws IllegalArgumentException if it means none, naming what there is, or gives one too high a rank
     */
    static Targets of(LoraConfig config, List<? extends AdaptableLinear> linears) {
        List<Integer> sites = new ArrayList<>();
        for (int i = 0; i < linears.size(); i++) {
            if (config.targets(linears.get(i).name())) {
                sites.add(i);
            }
        }
        if (sites.isEmpty()) {
            throw new IllegalArgumentException(
                    describe(config) + " should match linears of the model, found none among " + kinds(linears)
                            + (linears.isEmpty()
                                    ? ""
                                    : ", such as " + linears.getFirst().name()));
        }
        sites.forEach(site -> requireRank(config, linears.get(site)));
        return new Targets(List.copyOf(linears), List.copyOf(sites));
    }

    private static void requireRank(LoraConfig config, AdaptableLinear linear) {
        int rank = config.rank(linear.name());
        int most = LARGEST / Math.max(linear.weight().in(), linear.weight().out());
        if (rank > most) {
            throw new IllegalArgumentException("the rank of the adapter on " + linear.name() + " should be at most "
                    + most + ", since a matrix can have " + LARGEST + " elements, found " + rank);
        }
    }

    /**
     * Requires that the configuration means nothing that PEFT would adapt in a Llama, and this does not.
     *
     * @throws IllegalArgumentException naming it
     */
    static void requireInside(LoraConfig config) {
        boolean all = config.targetModules() instanceof TargetModules.AllLinear;
        for (String module : all ? List.<String>of() : OUTSIDE) {
            if (config.targets(module)) {
                throw new IllegalArgumentException(describe(config) + " should mean linears of the blocks alone, found "
                        + module + " among them: the embedding and the output head are not adapted here");
            }
        }
    }

    private static String describe(LoraConfig config) {
        String layers = config.layersToTransform().isEmpty() ? "" : " in layers " + config.layersToTransform();
        return switch (config.targetModules()) {
            case TargetModules.Names names -> "target_modules " + names.names() + layers;
            case TargetModules.Regex regex -> "target_modules, the regular expression \"" + regex.pattern() + "\",";
            case TargetModules.AllLinear _ -> "target_modules " + TargetModules.ALL_LINEAR;
        };
    }

    /** Of a list of names, those that mean no linear. */
    static List<String> unmatched(LoraConfig config, List<? extends AdaptableLinear> linears) {
        if (!(config.targetModules() instanceof TargetModules.Names names)) {
            return List.of();
        }
        return names.names().stream()
                .filter(name -> linears.stream()
                        .noneMatch(linear -> TargetModules.of(name).matches(linear.name())))
                .toList();
    }

    /**
     * Whether the configuration also means modules of a Llama that are no linears, such as {@code mlp} or
     * {@code input_layernorm}. They are passed over here, but PEFT fails at them.
     */
    boolean passesOver(LoraConfig config) {
        return linears.stream()
                .flatMap(linear -> around(linear.name()))
                .distinct()
                .anyMatch(config::targets);
    }

    /** The modules that a linear is in, and what is beside it in them. */
    private static Stream<String> around(String linear) {
        return IntStream.range(0, linear.length())
                .filter(i -> linear.charAt(i) == '.')
                .mapToObj(i -> linear.substring(0, i))
                .flatMap(module -> {
                    String name = lastName(module);
                    boolean layer = name.chars().allMatch(Character::isDigit);
                    return Stream.concat(
                            Stream.of(module),
                            BESIDE.getOrDefault(layer ? "layer" : name, List.of()).stream()
                                    .map(inside -> module + "." + inside));
                });
    }

    private static String kinds(List<? extends AdaptableLinear> linears) {
        return linears.stream()
                .map(linear -> lastName(linear.name()))
                .distinct()
                .collect(Collectors.joining(", "));
    }

    private static String lastName(String module) {
        return module.substring(module.lastIndexOf('.') + 1);
    }

    /** A list of names that means these linears and, of this model, no others: the last parts of theirs, if that will do. */
    List<String> names() {
        List<String> names = sites.stream()
                .map(site -> lastName(linears.get(site).name()))
                .distinct()
                .sorted()
                .toList();
        TargetModules.Names last = new TargetModules.Names(names);
        long meant =
                linears.stream().filter(linear -> last.matches(linear.name())).count();
        return meant == sites.size()
                ? names
                : sites.stream().map(site -> linears.get(site).name()).sorted().toList();
    }
}
