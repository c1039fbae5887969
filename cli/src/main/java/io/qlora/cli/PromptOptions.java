package io.qlora.cli;

import io.qlora.trainer.data.DataFile;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** What to continue. */
@Command(optionListHeading = "Prompt:")
final class PromptOptions {

    /** As a prompt: the one on standard input. */
    private static final String STANDARD_INPUT = "-";

    @Option(
            names = "--prompt",
            paramLabel = "TEXT",
            description = "What to continue; - takes it from standard input, in UTF-8 (default: nothing).")
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
    String text() throws IOException {
        if (instruction != null) {
            return DataFile.instruction(instruction, input == null ? "" : input);
        }
        if (STANDARD_INPUT.equals(prompt)) {
            return read(System.in);
        }
        return prompt == null ? "" : prompt;
    }

    /** All of a stream but its last line's end, which a shell or an editor put there. */
    static String read(InputStream stream) throws IOException {
        try {
            ByteBuffer bytes = ByteBuffer.wrap(stream.readAllBytes());
            String text = StandardCharsets.UTF_8.newDecoder().decode(bytes).toString();
            return text.replaceFirst("\\r?\\n\\z", "");
        } catch (CharacterCodingException e) {
            throw new UsageException("--prompt -: what is on standard input is not UTF-8 text");
        }
    }
}
