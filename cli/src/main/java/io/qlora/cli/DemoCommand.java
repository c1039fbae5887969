package io.qlora.cli;

import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.optim.LearningRate;
import io.qlora.engine.tensor.Device;
import io.qlora.llama.LlamaModel;
import io.qlora.llama.LlamaTokenizer;
import io.qlora.llama.LoadOptions;
import io.qlora.lora.LoraAdapter;
import io.qlora.lora.LoraConfig;
import io.qlora.trainer.RunOptions;
import io.qlora.trainer.TrainingConfig;
import io.qlora.trainer.TrainingListener;
import io.qlora.trainer.data.DataFile;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/**
 * {@code qlora demo}: the whole of it in a minute, offline. A tiny Llama that knows stories is asked questions, fails, is
 * fine-tuned, and is asked questions that were held out.
 */
@Command(name = "demo", description = "Fine-tunes a bundled tiny Llama and shows what it has learnt; offline.")
final class DemoCommand implements Callable<Integer> {

    private static final int MAX_TOKENS = 128;
    private static final int ANSWER_TOKENS = 24;
    private static final int SHOWN = 3;
    private static final int STEPS = 25; // from evaluation to evaluation, and from line to line

    @Mixin
    private DeviceOptions device;

    @Option(
            names = "--output",
            defaultValue = "qlora-demo",
            paramLabel = "DIR",
            description = "Where model, data and adapter go (default: ${DEFAULT-VALUE}).")
    private Path output;

    @Option(names = "--json", description = "Print one JSON object on standard output, the rest on standard error.")
    private boolean json;

    @Spec
    private CommandSpec spec;

    /** What the demo showed; no accuracy after a training that was interrupted. */
    record Report(
            double accuracyBefore,
            Double accuracyAfter,
            int heldOut,
            TrainingSession.Report training,
            double seconds) {}

    @Override
    public Integer call() throws IOException {
        device.check();
        try (Reporter reporter = new Reporter(spec.commandLine(), json, STEPS, STEPS);
                Device opened = device.open()) {
            return run(opened, reporter);
        }
    }

    private int run(Device opened, Reporter reporter) throws IOException {
        long start = System.nanoTime();
        DemoFiles files = DemoFiles.prepare(output);
        reporter.line(
                "A tiny Llama that this project trained from scratch on little stories is asked questions about them.");
        double before = ask(opened, files, null, "Before fine-tuning", reporter);

        reporter.line("%nFine-tuning with QLoRA, as qlora train does:%n");
        RunOptions options = options(files);
        TrainingSession.Report training;
        try (Interruption interruption = new Interruption(reporter)) {
            reporter.announce(device, opened);
            try {
                training = TrainingSession.run(options, opened, reporter, interruption, new TrainingListener() {});
            } finally {
                files.keepRecord();
            }
            if (training.stopped()) {
                print(before, null, training, start); // before it is closed, after which the process may end
                return training.exitCode();
            }
        }
        double after = ask(opened, files, files.adapter(), "After fine-tuning", reporter);
        reporter.line(
                "%nHeld-out questions answered exactly: %.0f %% before, %.0f %% after.", 100 * before, 100 * after);
        reporter.line("All of it took %s; the adapter is one that peft reads.", InWords.time(secondsSince(start)));
        print(before, after, training, start);
        return 0;
    }

    private void print(double before, Double after, TrainingSession.Report training, long start) {
        if (json) {
            Report report = new Report(before, after, DemoFiles.heldOut().size(), training, secondsSince(start));
            Json.print(report, spec.commandLine().getOut());
        }
    }

    private static double secondsSince(long start) {
        return (System.nanoTime() - start) * 1e-9;
    }

    private RunOptions options(DemoFiles files) {
        TrainingConfig training = TrainingConfig.builder()
                .learningRate(5e-3)
                .scheduler(LearningRate.Schedule.COSINE)
                .warmupRatio(0.05)
                .batchSize(16)
                .numTrainEpochs(2)
                .evalSteps(STEPS)
                .build();
        return new RunOptions(
                files.model(),
                List.of(files.train()),
                List.of(files.heldOutFile()),
                0,
                files.adapter(),
                MAX_TOKENS,
                true,
                LoraConfig.builder().r(16).loraAlpha(32).build(),
                LoadOptions.defaults(),
                training,
                device.threads(),
                null);
    }

    /** The share of held-out questions that get exactly the right answer; shows the first few. */
    private static double ask(Device device, DemoFiles files, Path adapterDirectory, String title, Reporter reporter)
            throws IOException {
        try (LlamaModel model = LlamaModel.load(files.model(), LoadOptions.defaults(), device);
                LlamaTokenizer tokenizer = LlamaTokenizer.load(files.model(), model.config());
                ModelMemory memory = new ModelMemory(device);
                Answers answers = new Answers(model, tokenizer, model.config().maxPositionEmbeddings())) {
            if (adapterDirectory != null) {
                LoraAdapter.load(adapterDirectory, model.linears(), memory).attach();
            }
            reporter.line("%n%s:%n", title);
            int right = 0;
            int asked = 0;
            for (DemoWorld.Question question : DemoFiles.heldOut()) {
                String prompt = DataFile.instruction(question.instruction(), question.input());
                String answer = answers.greedy(prompt, ANSWER_TOKENS);
                right += answer.equals(question.output()) ? 1 : 0;
                if (asked++ < SHOWN) {
                    reporter.line("  %s %s", question.input(), question.instruction());
                    reporter.line("  expected: %s", question.output());
                    reporter.line(
                            "  answered: %s%n",
                            answer.isBlank()
                                    ? "(nothing)"
                                    : answer.strip().lines().findFirst().orElse(""));
                }
            }
            reporter.line("  %d of %d right", right, asked);
            return (double) right / asked;
        }
    }
}
