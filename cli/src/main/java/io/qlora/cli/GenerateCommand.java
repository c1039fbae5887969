package io.qlora.cli;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.llama.GenerationOptions;
import io.qlora.llama.Generator;
import io.qlora.llama.LlamaModel;
import io.qlora.llama.LlamaTokenizer;
import io.qlora.llama.TextStream;
import io.qlora.trainer.data.DataFile;
import java.io.IOException;
import java.io.PrintWriter;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code qlora generate}: continues a prompt, word by word as it is made. */
@Command(name = "generate", description = "Continues a prompt; greedy unless a temperature is given.")
final class GenerateCommand implements Callable<Integer> {

    @Mixin
    private ModelOptions model;

    @Mixin
    private AdapterOption adapter;

    @Option(names = "--prompt", defaultValue = "", description = "What to continue (default: nothing).")
    private String prompt;

    @Option(names = "--instruction", description = "Instead of --prompt: asks as an instruction data set does.")
    private String instruction;

    @Option(names = "--input", defaultValue = "", description = "The input of --instruction.")
    private String input;

    @Option(names = "--max-new-tokens", defaultValue = "256", description = "At most (default ${DEFAULT-VALUE}).")
    private int maxNewTokens;

    @Option(names = "--temperature", defaultValue = "0", description = "0 for greedy (default ${DEFAULT-VALUE}).")
    private double temperature;

    @Option(names = "--top-k", defaultValue = "0", description = "Draw from the k likeliest; 0 for all (default).")
    private int topK;

    @Option(
            names = "--top-p",
            defaultValue = "1",
            description = "Draw from the likeliest that reach this probability together (default ${DEFAULT-VALUE}).")
    private double topP;

    @Option(names = "--seed", defaultValue = "0", description = "Of what is drawn (default ${DEFAULT-VALUE}).")
    private long seed;

    @Option(names = "--json", description = "Print one JSON object when done.")
    private boolean json;

    @Spec
    private CommandSpec spec;

    /** As printed with {@code --json}. */
    record Report(String text, int[] ids, int promptTokens, double seconds, double tokensPerSecond) {}

    @Override
    public Integer call() throws IOException {
        Paths.requireModel(model.directory());
        adapter.check();
        if (instruction != null && !prompt.isEmpty()) {
            throw new UsageException("--instruction and --prompt exclude each other");
        }
        GenerationOptions options = GenerationOptions.builder()
                .maxNewTokens(maxNewTokens)
                .temperature(temperature)
                .topK(topK)
                .topP(topP)
                .seed(seed)
                .build();
        try (CpuDevice device = new CpuDevice(model.threads());
                LlamaModel llama = LlamaModel.load(model.directory(), model.load(), device);
                LlamaTokenizer tokenizer = LlamaTokenizer.load(model.directory(), llama.config());
                ModelMemory memory = new ModelMemory(device)) {
            adapter.attach(llama, memory);
            String text = instruction == null ? prompt : DataFile.instruction(instruction, input);
            generate(llama, tokenizer, Answers.prompt(tokenizer, text), options);
        }
        return 0;
    }

    private void generate(LlamaModel llama, LlamaTokenizer tokenizer, int[] ids, GenerationOptions options) {
        if (ids.length == 0) {
            throw new UsageException("this model has no token that begins a text: give a --prompt");
        }
        PrintWriter out = spec.commandLine().getOut();
        long wanted = (long) ids.length + options.maxNewTokens();
        int limit = (int) Math.min(wanted, llama.config().maxPositionEmbeddings());
        StringBuilder text = new StringBuilder();
        long start = System.nanoTime();
        int[] generated;
        try (Generator generator = new Generator(llama, limit)) {
            TextStream stream = tokenizer.stream(ids);
            generated = generator.generate(ids, options, id -> {
                show(stream.add(id), text, out);
                return true;
            });
            show(stream.rest(), text, out);
        }
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
