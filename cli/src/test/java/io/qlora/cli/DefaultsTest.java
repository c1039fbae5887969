package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.qlora.llama.LoadOptions;
import io.qlora.lora.LoraConfig;
import io.qlora.trainer.TrainingConfig;
import org.junit.jupiter.api.Test;
import picocli.CommandLine;

/** What is not asked for is the same from the command line as from the library. */
class DefaultsTest {

    private static <T> T parsed(T options, String... args) {
        new CommandLine(options).setCaseInsensitiveEnumValuesAllowed(true).parseArgs(args);
        return options;
    }

    @Test
    void ofTheAdapter() {
        assertEquals(LoraConfig.builder().build(), parsed(new LoraOptions()).config());
    }

    @Test
    void ofTraining() {
        assertEquals(
                TrainingConfig.builder().build(),
                parsed(new TrainingOptions())
                        .config(parsed(new OutputOptions(), "--output", "out"), parsed(new EvaluationOptions())));
    }

    @Test
    void ofTheWeights() {
        assertEquals(
                LoadOptions.defaults(),
                parsed(new ModelOptions(), "--model", "model").load());
    }
}
