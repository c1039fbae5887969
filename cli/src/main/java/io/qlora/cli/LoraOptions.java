package io.qlora.cli;

import io.qlora.lora.LoraConfig;
import io.qlora.lora.TargetModules;
import java.util.List;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** What adapter to make: options named and meant as in PEFT, with the defaults of {@link LoraConfig}. */
@Command(optionListHeading = "Adapter:")
final class LoraOptions {

    @Option(names = "--lora-r", defaultValue = "8", paramLabel = "N", description = "Rank (default: ${DEFAULT-VALUE}).")
    private int r;

    @Option(
            names = "--lora-alpha",
            defaultValue = "8",
            paramLabel = "X",
            description = "What it adds is scaled by alpha / rank; as in PEFT it does not follow the rank (default:"
                    + " ${DEFAULT-VALUE}).")
    private double alpha;

    @Option(
            names = "--lora-dropout",
            defaultValue = "0",
            paramLabel = "P",
            description = "Share of its input that is dropped in training (default: ${DEFAULT-VALUE}).")
    private double dropout;

    @Option(
            names = "--target-modules",
            arity = "1..*",
            defaultValue = "all-linear",
            paramLabel = "NAME",
            description = "Names such as q_proj v_proj; all-linear; or one regular expression for whole names, such as"
                    + " '.*\\.[qv]_proj' (default: ${DEFAULT-VALUE}).")
    private List<String> targetModules;

    @Option(names = "--use-rslora", description = "Scale by alpha / √rank instead.")
    private boolean useRslora;

    LoraConfig config() {
        UsageException.require(r >= 1, "--lora-r", "at least 1", r);
        UsageException.require(Double.isFinite(alpha), "--lora-alpha", "a number", alpha);
        UsageException.require(dropout >= 0 && dropout < 1, "--lora-dropout", "from 0 to below 1", dropout);
        return UsageException.of(() -> LoraConfig.builder()
                .r(r)
                .loraAlpha(alpha)
                .loraDropout(dropout)
                .targetModules(targets())
                .useRslora(useRslora)
                .build());
    }

    private TargetModules targets() {
        boolean several = targetModules.size() > 1;
        for (String name : targetModules) {
            Paths.requireNoOption("--target-modules", name);
            if (several && (!name.matches("[\\w.-]+") || name.equalsIgnoreCase(TargetModules.ALL_LINEAR))) {
                throw new UsageException("--target-modules should be names of modules, or " + TargetModules.ALL_LINEAR
                        + " alone, or one regular expression alone, found " + String.join(" ", targetModules));
            }
        }
        return TargetModules.parse(String.join(",", targetModules));
    }
}
