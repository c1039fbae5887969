package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.qlora.llama.LoadOptions;
import io.qlora.lora.LoraConfig;
import io.qlora.trainer.RunOptions;
import io.qlora.trainer.TrainingConfig;
import java.lang.reflect.RecordComponent;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import picocli.CommandLine;

class OptionNamesTest {

    private static Set<String> names(Class<?> settings) {
        return Arrays.stream(settings.getRecordComponents())
                .map(RecordComponent::getName)
                .collect(Collectors.toSet());
    }

    @Test
    void allOfTrainingIsThere() {
        Set<String> training = names(TrainingConfig.class);
        training.remove("seed"); // any will do
        assertTrue(OptionNames.OPTIONS.keySet().containsAll(training), training + "");
    }

    @Test
    void theyAreNamesOfTheLibraryAndOptionsOfTrain() {
        Set<String> names = new HashSet<>();
        for (Class<?> settings : List.of(TrainingConfig.class, RunOptions.class, LoraConfig.class, LoadOptions.class)) {
            names(settings).forEach(name -> names.addAll(List.of(name, settings.getSimpleName() + "." + name)));
        }
        names.addAll(Set.of("device", "binding")); // of Accelerators.open
        CommandLine train = QloraCommand.commandLine().getSubcommands().get("train");
        OptionNames.OPTIONS.forEach((name, option) -> {
            assertTrue(names.contains(name), name);
            assertTrue(train.getCommandSpec().optionsMap().containsKey(option), option);
        });
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "learningRate should be a number from 0, found NaN | --learning-rate should be a number from 0, found NaN",
                "evalSplit and evalData exclude each other | --eval-split and --eval-data exclude each other",
                "0 where scheduler is constant, which | 0 where --lr-scheduler-type is constant, which",
                "with LoraConfig.r 2, RunConfig.r 2, r 2 | with --lora-r 2, RunConfig.r 2, r 2",
                "output out: the directory is not empty | --output out: the directory is not empty",
                "device tpu: this build has no such | --device tpu: this build has no such",
                "binding should be one of a, b | --cuda-binding should be one of a, b",
                "the device is binding | the device is binding",
                "the output is there | the output is there",
                "a/maxLength: no, maxLength.jsonl: no, aMaxLength | a/maxLength: no, maxLength.jsonl: no, aMaxLength",
            })
    void onlyNamesAreReplaced(String message, String expected) {
        assertEquals(expected, OptionNames.in(message));
    }

    @Test
    void noMessageIsNone() {
        assertNull(OptionNames.in(null));
    }
}
