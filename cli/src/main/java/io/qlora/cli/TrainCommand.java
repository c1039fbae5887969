package io.qlora.cli;

import io.qlora.trainer.RunOptions;
import io.qlora.trainer.TrainingListener;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code qlora train}: fine-tunes a model and leaves a PEFT directory. */
@Command(
        name = "train",
        description = "Fine-tunes a model on data files and writes the adapter as a PEFT directory.",
        usageHelpAutoWidth = true)
final class TrainCommand implements Callable<Integer> {

    @Mixin
    private ModelOptions model;

    @Option(
            names = "--data",
            required = true,
            arity = "1..*",
            paramLabel = "FILE",
            description = "What to learn: JSONL, a JSON array, or .txt. Records are {text}, {prompt, completion} or"
                    + " {instruction, input, output}.")
    private List<Path> data;

    @Option(
            names = "--output",
            required = true,
            paramLabel = "DIR",
            description = "Where the adapter goes; new or empty.")
    private Path output;

    @Option(names = "--eval-data", arity = "1..*", paramLabel = "FILE", description = "What to measure on.")
    private List<Path> evalData = new ArrayList<>();

    @Option(
            names = "--eval-split",
            defaultValue = "0",
            paramLabel = "N",
            description = "Hold out a share (below 1) or a number of the documents to measure on.")
    private double evalSplit;

    @Mixin
    private LoraOptions lora;

    @Mixin
    private TrainingOptions training;

    @Option(names = "--json", description = "Print one JSON object on standard output, the rest on standard error.")
    private boolean json;

    @Spec
    private CommandSpec spec;

    @Override
    public Integer call() throws IOException {
        Paths.requireModel(model.directory());
        Paths.requireFiles("--data", data);
        Paths.requireFiles("--eval-data", evalData);
        RunOptions options = new RunOptions(
                model.directory(),
                data,
                evalData,
                evalSplit,
                output,
                training.maxLength,
                training.completionOnly,
                lora.config(),
                model.load(),
                training.config(),
                model.threads(),
                training.resume);
        Reporter reporter =
                new Reporter(spec.commandLine(), json, options.training().loggingSteps());
        TrainingSession.Report report = TrainingSession.run(options, reporter, new TrainingListener() {});
        if (json) {
            Json.print(report, spec.commandLine().getOut());
        }
        return report.exitCode();
    }
}
