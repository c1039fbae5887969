package io.qlora.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import picocli.CommandLine;
import picocli.CommandLine.Model.OptionSpec;

class HelpTest {

    static Stream<String> commands() {
        return QloraCommand.commandLine().getSubcommands().keySet().stream();
    }

    @ParameterizedTest
    @MethodSource("commands")
    void everyCommandsHelpFitsEightyColumnsAndHasAllItsOptions(String name) {
        Cli.Result help = Cli.run(name, "--help");
        assertEquals(0, help.status());
        help.out().lines().forEach(line -> assertTrue(line.length() <= 80, line));
        CommandLine command = QloraCommand.commandLine().getSubcommands().get(name);
        for (OptionSpec option : command.getCommandSpec().options()) {
            boolean shown =
                    help.out().lines().anyMatch(line -> line.matches("  .*" + option.longestName() + "([= \\[].*)?"));
            assertTrue(shown || option.hidden(), option.longestName() + " is missing in:\n" + help.out());
        }
    }

    @Test
    void optionsStandInGroups() {
        List<String> headings = Cli.run("train", "--help")
                .out()
                .lines()
                .filter(line -> line.matches("[A-Z].*:"))
                .toList();
        assertEquals(
                List.of(
                        "Model:",
                        "Device:",
                        "Data:",
                        "Output:",
                        "Adapter:",
                        "Training:",
                        "Evaluation, before and after training:",
                        "General:",
                        "Exit codes:"),
                headings);
    }

    @Test
    void theAdapterIsNoOptionOfTheDevice() {
        for (String command : List.of("eval", "generate")) {
            String help = Cli.run(command, "--help").out();
            assertTrue(help.matches("(?s).*\\RAdapter:\\R +--adapter=DIR.*"), help);
        }
    }

    @Test
    void whatIsHiddenIsNotShown() {
        String help = Cli.run("bench", "step", "--help").out();
        assertFalse(help.contains(" --checkpointing"), help);
    }

    @ParameterizedTest
    @ValueSource(strings = {"bench step", "demo", "make-demo-model", "train", "generate"})
    void valuesAndDefaultsAreWrittenInOneWay(String command) {
        String help = Cli.run((Object[]) (command + " --help").split(" ")).out();
        assertFalse(help.contains("=<") || help.contains("(default "), help);
    }

    @Test
    void defaultsAreShown() {
        String help = Cli.run("train", "--help").out().replaceAll("\\s+", " ");
        Map<String, String> defaults = Map.of(
                "--lora-r", "8",
                "--lora-alpha", "8",
                "--learning-rate", "2e-4",
                "--lr-scheduler-type", "linear",
                "--target-modules", "all-linear",
                "--quantization", "nf4",
                "--device", "cpu",
                "--num-train-epochs", "3",
                "--seed", "42");
        defaults.forEach((option, value) -> assertTrue(
                help.matches(".*" + option + "[= ][^(]*\\(default: " + value + "\\).*"), option + " in " + help));
    }

    @Test
    void theRootNamesTheCommands() {
        String help = Cli.run("--help").out();
        for (String command : List.of("train", "eval", "generate", "inspect", "doctor", "demo")) {
            assertTrue(help.contains("\n  " + command + " "), help);
        }
    }

    @Test
    void versionNamesTheJdk() {
        assertTrue(Cli.run("--version").out().contains(Runtime.version().toString()));
    }
}
