package io.qlora.cli;

import java.util.Map;
import java.util.stream.Collectors;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.HelpCommand;
import picocli.CommandLine.IVersionProvider;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ScopeType;
import picocli.CommandLine.Spec;

/** {@code qlora}: the root of the subcommands and the home of the options that all of them have. */
@Command(
        name = "qlora",
        description = "Fine-tunes Llama models with QLoRA.",
        subcommands = {
            TrainCommand.class,
            EvalCommand.class,
            GenerateCommand.class,
            InspectCommand.class,
            DoctorCommand.class,
            BenchCommand.class,
            DemoCommand.class,
            MakeDemoModelCommand.class,
            HelpCommand.class
        },
        mixinStandardHelpOptions = true,
        versionProvider = QloraCommand.Version.class,
        scope = ScopeType.INHERIT,
        sortOptions = false,
        exitCodeListHeading = "%nExit codes:%n",
        exitCodeList = {
            "0:done",
            "1:it failed, for the reason given",
            "2:wrong use",
            "130:stopped by Ctrl-C; what was learnt is saved",
            "141:whoever read the output is gone"
        })
final class QloraCommand implements Runnable {

    @Option(
            names = "--verbose",
            scope = ScopeType.INHERIT,
            description = "Say more: of the device, and, when something fails, where in the program.")
    private boolean verbose;

    @Spec
    private CommandSpec spec;

    /** The command line as {@link Main} runs it: every failure is one sentence and an exit code. */
    static CommandLine commandLine() {
        QloraCommand root = new QloraCommand();
        CommandLine command = new CommandLine(root);
        GroupedHelp.install(command);
        return command.setExpandAtFiles(false) // a prompt may begin with @
                .setCaseInsensitiveEnumValuesAllowed(true)
                .setParameterExceptionHandler((e, args) -> Failures.wrongUse(e))
                .setExecutionExceptionHandler((e, failed, parsed) -> Failures.failed(e, failed, root.verbose))
                .setExecutionStrategy(parsed -> {
                    Failures.requireKnownCommand(parsed);
                    try {
                        int status = new CommandLine.RunLast().execute(parsed);
                        return Failures.printed(status, parsed.commandSpec().commandLine());
                    } catch (Error e) {
                        // Picocli lets these through: out of memory, a native library that does not load.
                        return Failures.failed(e, parsed.commandSpec().commandLine(), root.verbose);
                    }
                });
    }

    /** Whether a command was told to say more. */
    static boolean verbose(CommandSpec command) {
        return command.root().userObject() instanceof QloraCommand root && root.verbose;
    }

    @Override
    public void run() {
        throw new ParameterException(
                spec.commandLine(),
                "Which command? One of "
                        + spec.subcommands().entrySet().stream()
                                .filter(command -> !command.getValue()
                                        .getCommandSpec()
                                        .usageMessage()
                                        .hidden())
                                .map(Map.Entry::getKey)
                                .collect(Collectors.joining(", ")));
    }

    /** The version in the jar's manifest, and of the JDK it runs on. */
    static final class Version implements IVersionProvider {
        @Override
        public String[] getVersion() {
            String version = Main.class.getPackage().getImplementationVersion();
            return new String[] {
                "qlora " + (version == null ? "(not from a jar)" : version) + ", JDK " + Runtime.version()
            };
        }
    }
}
