package io.qlora.cli;

import io.qlora.llama.LoadOptions;
import java.nio.file.Path;
import picocli.CommandLine.Option;

/** Which model, and how its weights are kept. */
final class ModelOptions {

    @Option(
            names = "--model",
            required = true,
            paramLabel = "DIR",
            description = "A Hugging Face Llama directory: config.json, tokenizer.json, safetensors.")
    private Path directory;

    @Option(
            names = "--quantization",
            defaultValue = "nf4",
            description = "nf4, or none to keep the file's precision (default ${DEFAULT-VALUE}).")
    private LoadOptions.Quantization quantization;

    @Option(
            names = "--double-quant",
            defaultValue = "true",
            arity = "0..1",
            fallbackValue = "true",
            description = "Quantise the scales of nf4 too (default ${DEFAULT-VALUE}).")
    private boolean doubleQuant;

    @Option(names = "--threads", description = "How many compute (default: all processors).")
    private int threads = Runtime.getRuntime().availableProcessors();

    Path directory() {
        return directory;
    }

    int threads() {
        if (threads < 1) {
            throw new UsageException("--threads should be at least 1, found " + threads);
        }
        return threads;
    }

    LoadOptions load() {
        return LoadOptions.builder()
                .quantization(quantization)
                .doubleQuant(doubleQuant)
                .build();
    }
}
