package io.qlora.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code qlora bench gpu}: tells the truth about a card. Names nothing of the CUDA module, which may not be there. */
@Command(
        name = "gpu",
        description = {
            "Checks every kernel of a card against the processor's, then measures: copy bandwidth and dense products, each"
                    + " kernel next to these, the fastest routes of products (kept for later runs), launches, and training"
                    + " steps on random weights.",
            "Ends with exit code 1 if a kernel is wrong or something failed."
        })
final class BenchGpuCommand implements Callable<Integer> {

    @Option(
            names = "--device",
            defaultValue = "cuda",
            paramLabel = "NAME",
            description = "cuda, or cuda:N for another card than the first (default: ${DEFAULT-VALUE}).")
    private String device;

    @Option(
            names = "--cuda-binding",
            paramLabel = "NAME",
            description = "How CUDA is called: panama, or jcuda (default: panama).")
    private String binding;

    @Option(
            names = "--only",
            paramLabel = "REGEX",
            description =
                    "Only what is so called, or a part of it: kernels as Nf4Linear.forward, routes, launches, steps.")
    private String only;

    @Option(names = "--small", description = "At small sizes: to see that everything works; times say nothing then.")
    private boolean small;

    @Option(
            names = "--json",
            paramLabel = "FILE",
            defaultValue = "bench-gpu.json",
            description = "Where to write the figures, too (default: ${DEFAULT-VALUE}).")
    private Path json;

    @Spec
    private CommandSpec spec;

    @Override
    public Integer call() throws IOException {
        boolean passed = GpuBench.run(
                device, binding, pattern(), small, json, spec.commandLine().getOut());
        return passed ? 0 : Failures.FAILED;
    }

    private Pattern pattern() {
        try {
            return only == null ? null : Pattern.compile(only);
        } catch (PatternSyntaxException e) {
            throw new UsageException(
                    "--only should be a regular expression, found " + only + ": " + e.getDescription());
        }
    }
}
