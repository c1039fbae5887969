package io.qlora.cli;

import io.qlora.trainer.data.DataFile;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** What to continue. */
@Command(optionListHeading = "Prompt:")
final class PromptOptions {

    @Option(names = "--prompt", paramLabel = "TEXT", description = "What to continue (default: nothing).")
    private String prompt;

    @Option(
            names = "--instruction",
            paramLabel = "TEXT",
            description = "Instead of --prompt: asks as an instruction data set does.")
    private String instruction;

    @Option(names = "--input", paramLabel = "TEXT", description = "What the instruction is about.")
    private String input;

    /** Requires that they go together. */
    void check() {
        if (instruction != null && prompt != null) {
            throw new UsageException("--instruction and --prompt exclude each other: give one of them");
        }
        if (input != null && instruction == null) {
            throw new UsageException("--input goes with --instruction, which is missing");
        }
    }

    /** The text that the model is given. */
    String text() {
        if (instruction != null) {
            return DataFile.instruction(instruction, input == null ? "" : input);
        }
        return prompt == null ? "" : prompt;
    }
}
