package io.qlora.cli;

import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.tensor.Device;
import io.qlora.llama.LlamaConfig;
import io.qlora.llama.LlamaModel;
import io.qlora.llama.LlamaTokenizer;
import io.qlora.trainer.Evaluation;
import io.qlora.trainer.Evaluator;
import io.qlora.trainer.MemoryPlan;
import io.qlora.trainer.data.DataSet;
import java.io.IOException;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code qlora eval}: how well a model predicts data. */
@Command(
        name = "eval",
        customSynopsis = "qlora eval --model DIR [--adapter DIR] --data FILE... [OPTIONS]",
        description = "Measures how well a model, with or without an adapter, predicts data.")
final class EvalCommand implements Callable<Integer> {

    @Mixin
    private ModelOptions model;

    @Mixin
    private DeviceOptions device;

    @Mixin
    private AdapterOption adapter;

    @Mixin
    private DataOptions data;

    @Option(
            names = "--per-device-eval-batch-size",
            defaultValue = "8",
            paramLabel = "N",
            description = "Documents at a time (default: ${DEFAULT-VALUE}).")
    private int batchSize;

    @Option(names = "--json", description = "Print one JSON object on standard output.")
    private boolean json;

    @Spec
    private CommandSpec spec;

    /** As printed with {@code --json}. */
    record Report(double nll, Double perplexity, long targetTokens, long tokens, int documents, double seconds) {}

    @Override
    public Integer call() throws IOException {
        model.check();
        device.check();
        adapter.check();
        data.check();
        UsageException.require(batchSize >= 1, "--per-device-eval-batch-size", "at least 1", batchSize);
        LlamaConfig config = LlamaConfig.read(model.directory());
        DataSet set;
        try (LlamaTokenizer tokenizer = LlamaTokenizer.load(model.directory(), config)) {
            set = data.read(tokenizer, config);
        }
        try (Reporter reporter = Reporter.onStandardError(spec.commandLine());
                Device opened = device.open()) {
            MemoryPlan plan = MemoryPlan.ofEvaluation(
                    model.directory(), model.load(), adapter.directory(), opened, device.threads(), set, batchSize);
            reporter.announce(device, opened);
            reporter.announce(model, config, adapter);
            reporter.announce(set, DataSet.maxLength(data.maxLength(), config), "data    ", "");
            Fit fit = new Fit(Fit.Use.EVALUATION, plan);
            fit.announce(reporter);
            fit.require(plan.wayOut(model.load(), batchSize));
            print(evaluate(opened, set, plan, reporter), set);
        }
        return 0;
    }

    private Evaluation evaluate(Device opened, DataSet set, MemoryPlan plan, Reporter reporter) throws IOException {
        try (LlamaModel llama = LlamaModel.load(model.directory(), model.load(), opened);
                ModelMemory memory = new ModelMemory(opened);
                StepMemory step = new StepMemory(opened)) {
            adapter.attach(llama, memory);
            step.reserve(plan.step());
            return new Evaluator(llama, step, batchSize).evaluate(set, reporter);
        }
    }

    private void print(Evaluation result, DataSet set) {
        if (json) {
            Report report = new Report(
                    result.nll(), result.perplexity(), result.targets(), result.tokens(), set.size(), result.seconds());
            Json.print(report, spec.commandLine().getOut());
        } else {
            spec.commandLine().getOut().println(InWords.describe(result));
            spec.commandLine().getOut().flush();
        }
    }
}
