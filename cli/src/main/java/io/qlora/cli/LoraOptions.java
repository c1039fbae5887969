package io.qlora.cli;

import io.qlora.lora.LoraConfig;
import io.qlora.lora.TargetModules;
import java.util.List;
import picocli.CommandLine.Option;

/** What adapter to make: options named and meant as in PEFT. */
final class LoraOptions {

    @Option(names = "--lora-r", defaultValue = "8", description = "Rank (default ${DEFAULT-VALUE}).")
    private int r;

    @Option(names = "--lora-alpha", defaultValue = "16", description = "Scale times rank (default ${DEFAULT-VALUE}).")
    private double alpha;

    @Option(
            names = "--lora-dropout",
            defaultValue = "0",
            description = "Of the adapter's input (default ${DEFAULT-VALUE}).")
    private double dropout;

    @Option(
            names = "--target-modules",
            arity = "1..*",
            defaultValue = "all-linear",
            paramLabel = "NAME",
            description =
                    "Names such as q_proj v_proj, all-linear, or one regular expression (default ${DEFAULT-VALUE}).")
    private List<String> targetModules;

    @Option(names = "--use-rslora", description = "Scale by alpha / √rank instead of alpha / rank.")
    private boolean useRslora;

    LoraConfig config() {
        return LoraConfig.builder()
                .r(r)
                .loraAlpha(alpha)
                .loraDropout(dropout)
                .targetModules(TargetModules.parse(String.join(",", targetModules)))
                .useRslora(useRslora)
                .build();
    }
}
