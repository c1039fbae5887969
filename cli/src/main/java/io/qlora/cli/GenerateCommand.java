package io.qlora.cli;

import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.tensor.Device;
import io.qlora.llama.GenerationConfig;
import io.qlora.llama.GenerationOptions;
import io.qlora.llama.Generator;
import io.qlora.llama.LlamaConfig;
import io.qlora.llama.LlamaModel;
import io.qlora.llama.LlamaTokenizer;
import io.qlora.llama.NonFiniteLogitsException;
import io.qlora.llama.TextStream;
import io.qlora.trainer.MemoryPlan;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code qlora generate}: continues a prompt, word by word as it is made. */
@Command(
        name = "generate",
        customSynopsis = "qlora generate --model DIR [--adapter DIR] [--prompt TEXT] [OPTIONS]",
        description = "Continues a prompt; with the likeliest tokens unless a temperature is given.")
final class GenerateCommand implements Callable<Integer> {

    @Mixin
    private ModelOptions model;

    @Mixin
    private DeviceOptions device;

    @Mixin
    private AdapterOption adapter;

    @Mixin
    private PromptOptions prompt;

    @Mixin
    private SamplingOptions sampling;

    @Option(names = "--json", description = "Print one JSON object on standard output when done.")
    private boolean json;

    @Spec
    private CommandSpec spec;

    /** As printed with {@code --json}. */
    record Report(String text, int[] ids, int promptTokens, double seconds, double tokensPerSecond) {}

    @Override
    public Integer call() throws IOException {
        model.check();
        device.check();
        adapter.check();
        prompt.check();
        GenerationOptions options = sampling.options();
        LlamaConfig config = LlamaConfig.read(model.directory());
        try (LlamaTokenizer tokenizer = LlamaTokenizer.load(model.directory(), config);
                Reporter reporter = Reporter.onStandardError(spec.commandLine());
                Device opened = device.open()) {
            int[] ids = ids(tokenizer, config);
            long wanted = (long) ids.length + options.maxNewTokens();
            int most = (int) Math.min(wanted, config.maxPositionEmbeddings());
            MemoryPlan plan = MemoryPlan.ofGeneration(
                    model.directory(), model.load(), adapter.directory(), opened, device.threads(), ids.length, most);
            reporter.announce(device, opened);
            reporter.announce(model, config, adapter);
            for (String setting : GenerationConfig.notApplied(model.directory())) {
                reporter.line("generation_config.json: %s is not applied: the text may not be transformers'", setting);
            }
            Fit fit = new Fit(Fit.Use.GENERATION, plan);
            fit.announce(reporter);
            fit.require(plan.wayOut(model.load(), 1));
            try (LlamaModel llama = LlamaModel.load(model.directory(), model.load(), opened);
                    ModelMemory memory = new ModelMemory(opened);
                    StepMemory step = new StepMemory(opened)) {
                adapter.attach(llama, memory);
                step.reserve(plan.step());
                try (Generator generator = new Generator(llama, most, step)) {
                    generate(generator, tokenizer, ids, options.withStopIds(tokenizer.stopIds()));
                }
            } catch (NonFiniteLogitsException e) {
                throw new IllegalStateException(model.directory() + ": " + e.getMessage(), e);
            }
        }
        return 0;
    }

    private int[] ids(LlamaTokenizer tokenizer, LlamaConfig config) throws IOException {
        String text = prompt.text();
        int[] ids = UsageException.of(() -> Answers.prompt(tokenizer, text));
        if (ids.length == 0) {
            throw new UsageException("this model has no token that begins a text: give a --prompt");
        }
        int limit = config.maxPositionEmbeddings();
        if (ids.length >= limit) {
            throw new UsageException("the prompt has " + ids.length + " tokens, the model's limit is " + limit
                    + ": one less at least, for one to follow");
        }
        return ids;
    }

    private void generate(Generator generator, LlamaTokenizer tokenizer, int[] ids, GenerationOptions options) {
        PrintWriter out = spec.commandLine().getOut();
        StringBuilder text = new StringBuilder();
        long start = System.nanoTime();
        TextStream stream = tokenizer.stream(ids);
        int[] generated = generator.generate(ids, options, id -> {
            show(stream.add(id), text, out);
            return json || !out.checkError(); // without a reader there is nothing to go on for
        });
        show(stream.rest(), text, out);
        double seconds = (System.nanoTime() - start) * 1e-9;
        if (json) {
            Json.print(new Report(text.toString(), generated, ids.length, seconds, generated.length / seconds), out);
        } else {
            out.println();
            out.flush();
        }
    }

    private void show(String piece, StringBuilder text, PrintWriter out) {
        text.append(piece);
        if (!json) {
            out.print(piece);
            out.flush();
        }
    }
}
