package io.qlora.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Set;
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

    private static final List<String> PARTS = List.of("checks", "kernels", "steps", "launches");

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

    @Option(
            names = "--part",
            paramLabel = "NAME",
            split = ",",
            description =
                    "Only these: checks, kernels (and routes), steps, launches. A process for each loses the least"
                            + " to a kernel that fails.")
    private Set<String> parts;

    @Option(
            names = "--after",
            paramLabel = "PIECE",
            description = "Go on after this piece, in which another process lost the card: \"next\" of its JSON file.")
    private String after;

    @Option(names = "--alone", paramLabel = "PIECE", description = "This piece and no other.")
    private String alone;

    @Option(
            names = "--patience",
            paramLabel = "SECONDS",
            description = "After which a kernel is taken for one that never ends (default: 120); what is begun is then"
                    + " printed, too.")
    private Integer patience;

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
        requireParts();
        Duration most = patience == null ? null : Duration.ofSeconds(patience);
        GpuBench.Asked asked = new GpuBench.Asked(device, binding, pattern(), parts, after, alone, small, most);
        boolean passed = GpuBench.run(asked, json, spec.commandLine().getOut());
        return passed ? 0 : Failures.FAILED;
    }

    private void requireParts() {
        for (String part : parts == null ? Set.<String>of() : parts) {
            if (!PARTS.contains(part)) {
                throw new UsageException("--part should be " + String.join(", ", PARTS) + ", found " + part);
            }
        }
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
