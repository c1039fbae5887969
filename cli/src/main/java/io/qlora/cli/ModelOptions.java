package io.qlora.cli;

import io.qlora.llama.LoadOptions;
import java.nio.file.Path;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** Which model, and how its weights are kept. */
@Command(optionListHeading = "Model:")
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
            paramLabel = "KIND",
            description = "nf4, or none to keep the file's precision (default: ${DEFAULT-VALUE}).")
    private LoadOptions.Quantization quantization;

    @Option(
            names = "--double-quant",
            arity = "0..1",
            fallbackValue = "true",
            paramLabel = "true|false",
            description = "Quantise the scales of nf4 too (default: true).")
    private Boolean doubleQuant;

    /** Requires what can be seen without reading the model. */
    void check() {
        Paths.requireModel(directory);
        if (quantization == LoadOptions.Quantization.NONE && Boolean.TRUE.equals(doubleQuant)) {
            throw new UsageException("--double-quant is of nf4, it and --quantization none exclude each other");
        }
    }

    Path directory() {
        return directory;
    }

    LoadOptions load() {
        return LoadOptions.builder()
                .quantization(quantization)
                .doubleQuant(!Boolean.FALSE.equals(doubleQuant))
                .build();
    }
}
