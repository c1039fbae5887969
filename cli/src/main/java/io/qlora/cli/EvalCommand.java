package io.qlora.cli;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.llama.LlamaModel;
import io.qlora.llama.LlamaTokenizer;
import io.qlora.trainer.Evaluation;
import io.qlora.trainer.Evaluator;
import io.qlora.trainer.data.DataSet;
import io.qlora.trainer.data.TokenizerEncoding;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code qlora eval}: how well a model predicts data. */
@Command(name = "eval", description = "Measures how well a model, with or without an adapter, predicts data.")
final class EvalCommand implements Callable<Integer> {

    @Mixin
    private ModelOptions model;

    @Mixin
    private AdapterOption adapter;

    @Option(
            names = "--data",
            required = true,
            arity = "1..*",
            paramLabel = "FILE",
            description = "What to predict: JSONL, a JSON array, or .txt.")
    private List<Path> data;

    @Option(
            names = "--max-length",
            defaultValue = "0",
            description = "Tokens of a document; longer ones are cut (default: 1024 or the model's limit).")
    private int maxLength;

    @Option(
            names = "--completion-only-loss",
            defaultValue = "true",
            arity = "0..1",
            fallbackValue = "true",
            description = "Do not count prompts (default ${DEFAULT-VALUE}).")
    private boolean completionOnly;

    @Option(
            names = "--per-device-eval-batch-size",
            defaultValue = "8",
            description = "Documents at a time (default ${DEFAULT-VALUE}).")
    private int batchSize;

    @Option(names = "--json", description = "Print one JSON object.")
    private boolean json;

    @Spec
    private CommandSpec spec;

    /** As printed with {@code --json}. */
    record Report(double nll, double perplexity, long targetTokens, long tokens, int documents, double seconds) {}

    @Override
    public Integer call() throws IOException {
        Paths.requireModel(model.directory());
        Paths.requireFiles("--data", data);
        adapter.check();
        if (batchSize < 1) {
            throw new UsageException("--per-device-eval-batch-size should be at least 1, found " + batchSize);
        }
        try (CpuDevice device = new CpuDevice(model.threads());
                LlamaModel llama = LlamaModel.load(model.directory(), model.load(), device);
                LlamaTokenizer tokenizer = LlamaTokenizer.load(model.directory(), llama.config());
                ModelMemory memory = new ModelMemory(device);
                StepMemory step = new StepMemory(device)) {
            adapter.attach(llama, memory);
            DataSet set = DataSet.read(
                    data,
                    new TokenizerEncoding(tokenizer),
                    DataSet.maxLength(maxLength, llama.config()),
                    completionOnly);
            Evaluation result = new Evaluator(llama, step, batchSize).evaluate(set);
            if (json) {
                Report report = new Report(
                        result.nll(),
                        result.perplexity(),
                        result.targets(),
                        result.tokens(),
                        set.size(),
                        result.seconds());
                Json.print(report, spec.commandLine().getOut());
            } else {
                spec.commandLine().getOut().println(Reporter.describe(result));
            }
        }
        return 0;
    }
}
