package io.qlora.cli;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import picocli.CommandLine;
import picocli.CommandLine.Help;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Model.UsageMessageSpec;

/**
 * Help in which the options of a command stand in groups: those of each mixin under its {@code optionListHeading} (or, if it
 * has none, with those before them), then the rest.
 */
final class GroupedHelp {

    /** The widest option that its description stands beside; that of a longer one stands below. */
    private static final int OPTION_WIDTH = 24;

    /** What picocli calls the mixin of --help and --version. */
    private static final String STANDARD = "mixinStandardHelpOptions";

    private GroupedHelp() {}

    /** Has {@code command} and its subcommands show their options so. */
    static void install(CommandLine command) {
        Map<String, CommandLine.IHelpSectionRenderer> sections = command.getHelpSectionMap();
        sections.put(UsageMessageSpec.SECTION_KEY_OPTION_LIST_HEADING, help -> "");
        sections.put(UsageMessageSpec.SECTION_KEY_OPTION_LIST, GroupedHelp::options);
        command.getCommandSpec().usageMessage().longOptionsMaxWidth(OPTION_WIDTH);
        command.getSubcommands().values().forEach(GroupedHelp::install);
    }

    private static String options(Help help) {
        CommandSpec spec = help.commandSpec();
        List<OptionSpec> rest = new ArrayList<>(
                spec.options().stream().filter(option -> !option.hidden()).toList());
        StringBuilder groups = new StringBuilder();
        spec.mixins().forEach((name, mixin) -> {
            if (!name.equals(STANDARD)) {
                List<OptionSpec> group = rest.stream()
                        .filter(option -> mixin.optionsMap().containsKey(option.longestName()))
                        .toList();
                rest.removeAll(group);
                groups.append(heading(mixin.usageMessage().optionListHeading()));
                groups.append(table(help, group));
            }
        });
        return groups + heading(groups.isEmpty() ? null : "General:") + table(help, rest);
    }

    private static String heading(String text) {
        return text == null || text.isEmpty() ? "" : System.lineSeparator() + text + System.lineSeparator();
    }

    private static String table(Help help, List<OptionSpec> options) {
        return help.optionListExcludingGroups(
                options, help.createDefaultLayout(), null, help.createDefaultParamLabelRenderer());
    }
}
