package io.qlora.cli;

import io.qlora.llama.GenerationOptions;
import io.qlora.llama.Generator;
import io.qlora.llama.LlamaModel;
import io.qlora.llama.LlamaTokenizer;
import io.qlora.llama.TextStream;

/** Asks a model for completions, one at a time. */
final class Answers implements AutoCloseable {

    private final LlamaTokenizer tokenizer;
    private final Generator generator;

    /**
     * Answers by {@code model} with whatever adapter is attached.
     *
     * @param maxTokens the most a prompt and its completion may have together
     */
    Answers(LlamaModel model, LlamaTokenizer tokenizer, int maxTokens) {
        this.tokenizer = tokenizer;
        this.generator = new Generator(model, maxTokens);
    }

    /** The ids that a prompt is given to the model as: BOS, where the tokenizer puts one, and the text's. */
    static int[] prompt(LlamaTokenizer tokenizer, String text) {
        int[] words = tokenizer.encode(text);
        if (tokenizer.bosId().isEmpty()) {
            return words;
        }
        int[] ids = new int[words.length + 1];
        ids[0] = tokenizer.bosId().getAsInt();
        System.arraycopy(words, 0, ids, 1, words.length);
        return ids;
    }

    /** The most likely completion, as text. */
    String greedy(String prompt, int maxNewTokens) {
        int[] ids = prompt(tokenizer, prompt);
        GenerationOptions options = GenerationOptions.builder()
                .maxNewTokens(maxNewTokens)
                .stopIds(tokenizer.stopIds())
                .build();
        TextStream text = tokenizer.stream(ids);
        StringBuilder completion = new StringBuilder();
        generator.generate(ids, options, id -> {
            completion.append(text.add(id));
            return true;
        });
        return completion.append(text.rest()).toString();
    }

    @Override
    public void close() {
        generator.close();
    }
}
