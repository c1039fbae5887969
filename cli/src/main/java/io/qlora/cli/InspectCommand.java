package io.qlora.cli;

import com.fasterxml.jackson.databind.JsonNode;
import io.qlora.engine.safetensors.JsonFiles;
import io.qlora.engine.safetensors.SafetensorsFile;
import io.qlora.engine.safetensors.ShardedSafetensors;
import io.qlora.engine.safetensors.TensorEntry;
import io.qlora.llama.LlamaConfig;
import io.qlora.trainer.data.DataFile;
import io.qlora.trainer.data.Row;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code qlora inspect}: what a directory or file is. */
@Command(name = "inspect", description = "Says what a directory or file is: a model, an adapter, weights, or data.")
final class InspectCommand implements Callable<Integer> {

    @Parameters(arity = "1", paramLabel = "PATH", description = "A directory or file.")
    private Path path;

    @Option(names = "--tensors", description = "List every tensor.")
    private boolean tensors;

    @Option(names = "--json", description = "Print one JSON object.")
    private boolean json;

    @Spec
    private CommandSpec spec;

    /**
     * What was found.
     *
     * @param kind model, adapter, checkpoint, weights or data
     * @param facts name and value, in the order they are shown
     * @param tensors name, type and shape of each, if asked for
     */
    record Report(String path, String kind, Map<String, Object> facts, List<String> tensors) {}

    @Override
    public Integer call() throws IOException {
        if (!Files.exists(path)) {
            throw new UsageException(path + ": there is no such file or directory");
        }
        Report report = Files.isDirectory(path) ? directory() : file();
        PrintWriter out = spec.commandLine().getOut();
        if (json) {
            Json.print(report, out);
            return 0;
        }
        out.printf("%s: %s%n", report.path, report.kind);
        int width =
                report.facts.keySet().stream().mapToInt(String::length).max().orElse(0);
        report.facts.forEach((name, value) -> out.printf("  %-" + width + "s  %s%n", name, value));
        report.tensors.forEach(tensor -> out.printf("  %s%n", tensor));
        out.flush();
        return 0;
    }

    private Report directory() throws IOException {
        if (Files.exists(path.resolve("adapter_config.json"))) {
            return adapter();
        }
        if (Files.exists(path.resolve("config.json"))) {
            return model();
        }
        throw new UsageException(path + ": neither a model (config.json) nor an adapter (adapter_config.json)");
    }

    private Report model() throws IOException {
        LlamaConfig config = LlamaConfig.read(path);
        Facts facts = new Facts();
        facts.put("layers", config.numHiddenLayers());
        facts.put("hidden size", config.hiddenSize());
        facts.put("feed-forward size", config.intermediateSize());
        facts.put(
                "heads",
                config.numAttentionHeads() + " (" + config.numKeyValueHeads() + " key/value) of " + config.headDim());
        facts.put("vocabulary", config.vocabSize());
        facts.put("longest document", config.maxPositionEmbeddings());
        facts.put("output head", config.tieWordEmbeddings() ? "tied to the embedding" : "its own");
        try (ShardedSafetensors weights = ShardedSafetensors.open(path)) {
            return report("a Llama model", facts, weights.entries());
        }
    }

    private Report adapter() throws IOException {
        JsonNode config = JsonFiles.readObject(path.resolve("adapter_config.json"));
        Facts facts = new Facts();
        for (String key :
                List.of("peft_type", "base_model_name_or_path", "r", "lora_alpha", "lora_dropout", "use_rslora")) {
            if (config.hasNonNull(key)) {
                facts.put(key, config.get(key).asText());
            }
        }
        facts.put("target_modules", config.path("target_modules"));
        Path state = path.resolve("trainer_state.json");
        boolean checkpoint = Files.exists(state);
        if (checkpoint) {
            facts.put("step", JsonFiles.readObject(state).path("global_step").asLong());
        }
        try (SafetensorsFile file = SafetensorsFile.open(path.resolve("adapter_model.safetensors"))) {
            return report(checkpoint ? "a checkpoint of a run" : "a PEFT adapter", facts, file.entries());
        }
    }

    private Report file() throws IOException {
        String name = path.getFileName().toString().toLowerCase(Locale.ROOT);
        if (name.endsWith(".safetensors")) {
            try (SafetensorsFile file = SafetensorsFile.open(path)) {
                Facts facts = new Facts();
                file.metadata().forEach(facts::put);
                return report("safetensors", facts, file.entries());
            }
        }
        List<Row> rows = DataFile.read(path);
        Facts facts = new Facts();
        facts.put("records", rows.size());
        rows.stream()
                .collect(Collectors.groupingBy(
                        row -> row.content() instanceof Row.Text ? "texts" : "prompts with completions",
                        TreeMap::new,
                        Collectors.counting()))
                .forEach(facts::put);
        return new Report(path.toString(), "data", facts.map, List.of());
    }

    private Report report(String kind, Facts facts, Collection<TensorEntry> entries) {
        long elements =
                entries.stream().mapToLong(entry -> entry.shape().size()).sum();
        long bytes = entries.stream().mapToLong(TensorEntry::bytes).sum();
        String types =
                entries.stream().map(TensorEntry::dtype).distinct().sorted().collect(Collectors.joining(", "));
        facts.put("tensors", entries.size() + " of " + types);
        facts.put("elements", String.format(Locale.ROOT, "%,d", elements));
        facts.put("size", Reporter.bytes(bytes));
        List<String> list =
                tensors ? entries.stream().map(TensorEntry::toString).toList() : List.<String>of();
        return new Report(path.toString(), kind, facts.map, list);
    }

    /** Names and values in their order. */
    private static final class Facts {
        private final Map<String, Object> map = new LinkedHashMap<>();

        void put(String name, Object value) {
            map.put(name, value);
        }
    }
}
