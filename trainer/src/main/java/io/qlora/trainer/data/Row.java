package io.qlora.trainer.data;

import java.nio.file.Path;

/**
 * One record of a data file, before it is tokenised.
 *
 * @param file where it is from
 * @param line its first line there, from 1
 * @param content what it says
 */
public record Row(Path file, int line, Content content) {

    /** What a record says. */
    public sealed interface Content permits Text, Completion {}

    /** Running text: every token is learnt. */
    public record Text(String text) implements Content {}

    /** A prompt and what should follow it. */
    public record Completion(String prompt, String completion) implements Content {}

    /** As in messages: {@code train.jsonl, line 17}. */
    public String where() {
        return file + ", line " + line;
    }
}
