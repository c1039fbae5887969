package io.qlora.cli;

import io.qlora.llama.GenerationOptions;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** How to choose the tokens of a continuation. */
@Command(optionListHeading = "Continuation:")
final class SamplingOptions {

    @Option(
            names = "--max-new-tokens",
            defaultValue = "256",
            paramLabel = "N",
            description = "At most (default: ${DEFAULT-VALUE}).")
    private int maxNewTokens;

    @Option(
            names = "--temperature",
            defaultValue = "0",
            paramLabel = "X",
            description =
                    "Draw tokens, from logits divided by this; 0 takes the likeliest (default: ${DEFAULT-VALUE}).")
    private double temperature;

    @Option(
            names = "--top-k",
            paramLabel = "N",
            description = "Draw from the likeliest N alone; 0 for all (default: 0).")
    private Integer topK;

    @Option(
            names = "--top-p",
            paramLabel = "P",
            description = "Draw from the likeliest that reach this probability together (default: 1).")
    private Double topP;

    @Option(names = "--seed", defaultValue = "0", paramLabel = "N", description = "Of what is drawn (default: 0).")
    private long seed;

    GenerationOptions options() {
        UsageException.require(maxNewTokens >= 1, "--max-new-tokens", "at least 1", maxNewTokens);
        UsageException.require(
                temperature >= 0 && Double.isFinite(temperature), "--temperature", "a number from 0", temperature);
        UsageException.require(topK == null || topK >= 0, "--top-k", "at least 0", topK);
        UsageException.require(topP == null || (topP > 0 && topP <= 1), "--top-p", "above 0 and at most 1", topP);
        if (temperature == 0 && (topK != null || topP != null)) {
            throw new UsageException(
                    "--top-k and --top-p say what to draw from, but at --temperature 0 nothing is drawn:"
                            + " give a --temperature above 0");
        }
        return GenerationOptions.builder()
                .maxNewTokens(maxNewTokens)
                .temperature(temperature)
                .topK(topK == null ? 0 : topK)
                .topP(topP == null ? 1 : topP)
                .seed(seed)
                .build();
    }
}
