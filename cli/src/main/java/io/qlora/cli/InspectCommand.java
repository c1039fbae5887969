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
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicLong;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code qlora inspect}: what a directory or file is. */
@Command(
        name = "inspect",
        customSynopsis = "qlora inspect PATH [--tensors] [--json]",
        description = "Says what a directory or file is: a model, an adapter, weights, or data.")
final class InspectCommand implements Callable<Integer> {

    private static final String BYTES = "bytes";

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
     * @param kind Llama model, PEFT adapter, checkpoint, safetensors or data
     * @param facts by name, in the order they are shown
     * @param tensors those in the file or directory; none unless asked for
     */
    record Report(String path, String kind, Map<String, Object> facts, List<Tensor> tensors) {}

    /** A tensor in a file. */
    record Tensor(String name, String dtype, long[] shape, long bytes) {}

    @Override
    public Integer call() throws IOException {
        if (!Files.exists(path)) {
            throw new UsageException(path + ": there is no such file or directory");
        }
        Report report = Files.isDirectory(path) ? directory() : file();
        if (json) {
            Json.print(report, spec.commandLine().getOut());
        } else {
            print(report, spec.commandLine().getOut());
        }
        return 0;
    }

    private static void print(Report report, PrintWriter out) {
        out.printf("%s: %s%n", report.path, report.kind);
        int width =
                report.facts.keySet().stream().mapToInt(String::length).max().orElse(1);
        report.facts.forEach((name, value) ->
                out.printf(Locale.ROOT, "  %-" + width + "s  %s%n", name.replace('_', ' '), text(name, value)));
        for (Tensor tensor : report.tensors) {
            out.printf("  %-4s %s %s%n", tensor.dtype, tensor.name, Arrays.toString(tensor.shape));
        }
        out.flush();
    }

    private static String text(String name, Object value) {
        return switch (value) {
            case Long number when name.equals(BYTES) -> InWords.bytes(number);
            case Long number -> String.format(Locale.ROOT, "%,d", number);
            case JsonNode node when node.isValueNode() -> node.asText();
            default -> value.toString();
        };
    }

    private Report directory() throws IOException {
        if (Files.exists(path.resolve("adapter_config.json"))) {
            return adapter();
        }
        if (Files.exists(path.resolve("config.json"))) {
            return model();
        }
        throw new UsageException(
                path + ": expected a model (config.json) or an adapter (adapter_config.json), found neither");
    }

    private Report model() throws IOException {
        LlamaConfig config = LlamaConfig.read(path);
        Map<String, Object> facts = new LinkedHashMap<>();
        facts.put("layers", (long) config.numHiddenLayers());
        facts.put("hidden_size", (long) config.hiddenSize());
        facts.put("feed_forward_size", (long) config.intermediateSize());
        facts.put("heads", (long) config.numAttentionHeads());
        facts.put("key_value_heads", (long) config.numKeyValueHeads());
        facts.put("head_size", (long) config.headDim());
        facts.put("vocabulary", (long) config.vocabSize());
        facts.put("longest_document", (long) config.maxPositionEmbeddings());
        facts.put("output_head", config.tieWordEmbeddings() ? "tied to the embedding" : "its own");
        facts.put("quantization", config.bitsAndBytes() == null ? "none" : "nf4, as bitsandbytes stores it");
        try (ShardedSafetensors weights = ShardedSafetensors.open(path)) {
            facts.put("files", (long) weights.files().size());
            return report("Llama model", facts, weights.entries());
        }
    }

    private Report adapter() throws IOException {
        JsonNode config = JsonFiles.readObject(path.resolve("adapter_config.json"));
        Map<String, Object> facts = new LinkedHashMap<>();
        for (String key : List.of(
                "peft_type",
                "base_model_name_or_path",
                "r",
                "lora_alpha",
                "lora_dropout",
                "use_rslora",
                "target_modules")) {
            if (config.hasNonNull(key)) {
                facts.put(key, config.get(key));
            }
        }
        Path state = path.resolve("trainer_state.json");
        boolean checkpoint = Files.exists(state);
        if (checkpoint) {
            facts.put("step", JsonFiles.readObject(state).path("global_step").asLong());
        }
        try (SafetensorsFile file = SafetensorsFile.open(path.resolve("adapter_model.safetensors"))) {
            return report(checkpoint ? "checkpoint of a run" : "PEFT adapter", facts, file.entries());
        }
    }

    private Report file() throws IOException {
        Paths.requireNoPipe(path.toString(), path);
        Map<String, Object> facts = new LinkedHashMap<>();
        if (path.getFileName().toString().toLowerCase(Locale.ROOT).endsWith(".safetensors")) {
            try (SafetensorsFile file = SafetensorsFile.open(path)) {
                facts.putAll(file.metadata());
                return report("safetensors", facts, file.entries());
            }
        }
        AtomicLong texts = new AtomicLong();
        AtomicLong completions = new AtomicLong();
        DataFile.visit(path, row -> (row.content() instanceof Row.Text ? texts : completions).incrementAndGet());
        facts.put("records", texts.get() + completions.get());
        facts.put("texts", texts.get());
        facts.put("prompts_with_completions", completions.get());
        return new Report(path.toString(), "data", facts, List.of());
    }

    private Report report(String kind, Map<String, Object> facts, Collection<TensorEntry> entries) {
        facts.put("tensors", (long) entries.size());
        facts.put(
                "types",
                String.join(
                        ", ",
                        entries.stream()
                                .map(TensorEntry::dtype)
                                .distinct()
                                .sorted()
                                .toList()));
        facts.put(
                "elements",
                entries.stream().mapToLong(entry -> entry.shape().size()).sum());
        facts.put(BYTES, entries.stream().mapToLong(TensorEntry::bytes).sum());
        List<Tensor> list =
                tensors ? entries.stream().map(InspectCommand::describe).toList() : List.<Tensor>of();
        return new Report(path.toString(), kind, facts, list);
    }

    private static Tensor describe(TensorEntry entry) {
        return new Tensor(entry.name(), entry.dtype(), entry.shape().dims(), entry.bytes());
    }
}
