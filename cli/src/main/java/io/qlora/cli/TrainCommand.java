package io.qlora.cli;

import io.qlora.engine.tensor.Device;
import io.qlora.lora.LoraConfig;
import io.qlora.trainer.RunOptions;
import io.qlora.trainer.TrainingConfig;
import io.qlora.trainer.TrainingListener;
import java.io.IOException;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code qlora train}: fine-tunes a model and leaves a PEFT directory. */
@Command(
        name = "train",
        customSynopsis = "qlora train --model DIR --data FILE... --output DIR [OPTIONS]",
        description = "Fine-tunes a model on data files and writes the adapter as a PEFT directory.")
final class TrainCommand implements Callable<Integer> {

    @Mixin
    private ModelOptions model;

    @Mixin
    private DeviceOptions device;

    @Mixin
    private DataOptions data;

    @Mixin
    private OutputOptions output;

    @Mixin
    private LoraOptions lora;

    @Mixin
    private TrainingOptions training;

    @Mixin
    private EvaluationOptions evaluation;

    @Option(names = "--json", description = "Print one JSON object on standard output, the rest on standard error.")
    private boolean json;

    @Spec
    private CommandSpec spec;

    @Override
    public Integer call() throws IOException {
        RunOptions options = options();
        try (Reporter reporter = new Reporter(spec.commandLine(), json, output.loggingSteps(), evaluation.steps());
                Interruption interruption = new Interruption(reporter);
                Device opened = device.open()) {
            reporter.announce(device, opened);
            TrainingSession.Report report =
                    TrainingSession.run(options, opened, reporter, interruption, new TrainingListener() {});
            if (json) {
                Json.print(report, spec.commandLine().getOut());
            }
            return report.exitCode();
        }
    }

    private RunOptions options() {
        model.check();
        device.check();
        data.check();
        output.check();
        evaluation.check();
        LoraConfig adapter = lora.config();
        TrainingConfig config = training.config(output, evaluation);
        return UsageException.of(() -> new RunOptions(
                model.directory(),
                data.files(),
                evaluation.files(),
                evaluation.split(),
                output.directory(),
                data.maxLength(),
                data.completionOnly(),
                adapter,
                model.load(),
                config,
                device.threads(),
                output.checkpoint()));
    }
}
