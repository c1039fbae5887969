package io.qlora.cli;

import io.qlora.llama.LlamaConfig;
import io.qlora.llama.LlamaTokenizer;
import io.qlora.trainer.data.DataSet;
import io.qlora.trainer.data.TokenizerEncoding;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** Which data, and what of them counts. */
@Command(optionListHeading = "Data:")
final class DataOptions {

    @Option(
            names = "--data",
            required = true,
            arity = "1..*",
            paramLabel = "FILE",
            description = "JSONL, a JSON array, or .txt. Records are {text}, {prompt, completion} or"
                    + " {instruction, input, output}.")
    private List<Path> files;

    @Option(
            names = "--max-length",
            paramLabel = "N",
            description =
                    "Tokens of a document; longer ones are cut (default: 1024 or the model's limit, the smaller).")
    private Integer maxLength;

    @Option(
            names = "--completion-only-loss",
            defaultValue = "true",
            arity = "0..1",
            fallbackValue = "true",
            paramLabel = "true|false",
            description = "Prompts are given, not learnt or counted (default: ${DEFAULT-VALUE}).")
    private boolean completionOnly;

    /** Requires what can be seen without reading the files. */
    void check() {
        Paths.requireFiles("--data", files);
        UsageException.require(maxLength == null || maxLength >= 2, "--max-length", "at least 2", maxLength);
    }

    List<Path> files() {
        return files;
    }

    /** Tokens of the longest document; 0 for the default. */
    int maxLength() {
        return maxLength == null ? 0 : maxLength;
    }

    boolean completionOnly() {
        return completionOnly;
    }

    /** Reads the files for a model. */
    DataSet read(LlamaTokenizer tokenizer, LlamaConfig config) throws IOException {
        int length = DataSet.maxLength(maxLength(), config);
        return DataSet.read(files, new TokenizerEncoding(tokenizer), length, completionOnly);
    }
}
