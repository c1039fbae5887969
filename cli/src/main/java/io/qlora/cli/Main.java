package io.qlora.cli;

import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;
import java.util.regex.Pattern;

/** The entry of {@code qlora-engine.jar}. */
public final class Main {

    /** An option as Python spells it, perhaps with its value. */
    private static final Pattern PYTHON_OPTION = Pattern.compile("--[a-z]+(_[a-z]+)+(=.*)?", Pattern.DOTALL);

    private static final Set<String> HELP = Set.of("-h", "--help", "-V", "--version", "help");

    private Main() {}

    /**
     * Runs the command line and ends the process with its exit code: 0, {@value Failures#FAILED} for a failure,
     * {@value Failures#WRONG_USE} for wrong use, and others that {@code --help} names.
     */
    public static void main(String[] args) {
        OptionalInt elsewhere = asksForHelp(args) ? OptionalInt.empty() : Relaunch.ifWanted(args);
        System.exit(elsewhere.isPresent() ? elsewhere.getAsInt() : run(args));
    }

    /** Whether there is nothing to compute: a command, perhaps, and then {@code --help} or {@code --version}. */
    static boolean asksForHelp(String... args) {
        if (args.length == 0) {
            return true;
        }
        List<String> commands = List.of(args).subList(0, args.length - 1);
        return HELP.contains(args[args.length - 1]) && commands.stream().noneMatch(command -> command.startsWith("-"));
    }

    /** What {@link #main} does, in this process, without ending it. */
    static int run(String... args) {
        // The tokenizer's library would otherwise look on the network for a build of itself with CUDA.
        System.setProperty("ai.djl.offline", "true");
        Warnings.install();
        return QloraCommand.commandLine().setOut(StandardOutput.open()).execute(dashed(args));
    }

    /** Takes {@code --lora_r}, as PEFT and TRL also have it, for {@code --lora-r}. */
    static String[] dashed(String... args) {
        return Arrays.stream(args)
                .map(arg -> PYTHON_OPTION.matcher(arg).matches() ? dashed(arg) : arg)
                .toArray(String[]::new);
    }

    private static String dashed(String option) {
        int value = option.indexOf('=');
        String name = value < 0 ? option : option.substring(0, value);
        return name.replace('_', '-') + option.substring(name.length());
    }
}
