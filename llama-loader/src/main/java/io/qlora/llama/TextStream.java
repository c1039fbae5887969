package io.qlora.llama;

import java.util.Arrays;

/**
 * Turns ids into text one by one. A token may be a part of a character, and what it reads as may depend on the one before:
 * the ids since the last text are decoded together, and text is held back while its last character is incomplete. (The
 * method of {@code DecodeStream} in huggingface/tokenizers.)
 */
public final class TextStream {

    /** What an incomplete character decodes to. */
    private static final String INCOMPLETE = "\uFFFD";

    private final LlamaTokenizer tokenizer;
    private int[] ids; // those of the last text, and since
    private String before; // the text that ids had when the last text was given
    private int given; // how many of ids had been given then

    TextStream(LlamaTokenizer tokenizer, int[] context) {
        this.tokenizer = tokenizer;
        this.ids = context.clone();
        this.before = tokenizer.decode(ids);
        this.given = ids.length;
    }

    /** Adds an id and returns the text that is complete with it, often a word, sometimes nothing. */
    public String add(int id) {
        ids = Arrays.copyOf(ids, ids.length + 1);
        ids[ids.length - 1] = id;
        String text = tokenizer.decode(ids);
        if (text.length() <= before.length() || text.endsWith(INCOMPLETE)) {
            return "";
        }
        String added = text.substring(before.length());
        ids = Arrays.copyOfRange(ids, given, ids.length);
        given = ids.length;
        before = tokenizer.decode(ids);
        return added;
    }

    /** What has been held back, however incomplete; at the end. */
    public String rest() {
        String text = tokenizer.decode(ids);
        return text.substring(Math.min(before.length(), text.length()));
    }
}
