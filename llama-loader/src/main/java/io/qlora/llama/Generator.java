package io.qlora.llama;

import io.qlora.engine.autograd.Tape;
import io.qlora.engine.memory.StepMemory;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.util.Arrays;
import java.util.Set;

/**
 * Continues a document token by token, with a model and whatever adapters are attached to it. Keys and values of the tokens
 * so far are kept, so that a token costs one row of the model. The model must not run elsewhere at the same time.
 */
public final class Generator implements AutoCloseable {

    /** Hears of each token as it is chosen. */
    @FunctionalInterface
    public interface Listener {

        /** Takes a token; false ends the text with it. */
        boolean token(int id);
    }

    private final LlamaModel model;
    private final KeyValueCache cache;
    private final StepMemory memory;
    private final StepMemory own; // null: it is somebody else's

    /**
     * A generator.
     *
     * @param maxTokens the most tokens a document can have, prompt included; each takes 8·K·D bytes a block in
     *     float32
     * @throws IllegalArgumentException if the model has fewer positions
     */
    public Generator(LlamaModel model, int maxTokens) {
        this(model, maxTokens, null);
    }

    /**
     * A generator that computes in this memory.
     *
     * @param memory not in use elsewhere at the same time, and still open afterwards; null for some of its own
     * @throws IllegalArgumentException as above
     */
    public Generator(LlamaModel model, int maxTokens, StepMemory memory) {
        int positions = model.config().maxPositionEmbeddings();
        if (maxTokens < 1 || maxTokens > positions) {
            throw new IllegalArgumentException("maxTokens should be from 1 to the model's " + positions
                    + " positions (max_position_embeddings), found " + maxTokens);
        }
        this.model = model;
        this.cache = new KeyValueCache(model, maxTokens);
        this.own = memory == null ? new StepMemory(model.device()) : null;
        this.memory = memory == null ? own : memory;
    }

    /** What the keys and values take, bytes. */
    public long cacheBytes() {
        return cache.bytes();
    }

    /**
     * Continues a prompt until an id that ends the text, {@code maxNewTokens}, or the generator's limit.
     *
     * @param prompt at least one id; where the model has an id that begins a document, that is the first
     * @param listener hears of each new token, but not of one that ends the text
     * @return the new tokens, without the one that ends the text
     * @throws IllegalArgumentException if the prompt is empty or leaves no room
     * @throws IndexOutOfBoundsException if an id of the prompt is not in the vocabulary
     * @throws NonFiniteLogitsException if the logits are not finite
     */
    public int[] generate(int[] prompt, GenerationOptions options, Listener listener) {
        if (prompt.length < 1 || prompt.length >= cache.capacity()) {
            throw new IllegalArgumentException("the prompt should have from 1 to " + (cache.capacity() - 1)
                    + " tokens, so that one more fits, found " + prompt.length);
        }
        Set<Integer> stops =
                options.stopIds() == null ? Set.copyOf(model.config().eosTokenIds()) : options.stopIds();
        Sampler sampler = new Sampler(options);
        int[] generated = new int[Math.min(options.maxNewTokens(), cache.capacity() - prompt.length)];
        cache.clear();
        float[] logits = next(prompt);
        int count = 0;
        while (true) {
            int id = sampler.next(logits, count);
            if (stops.contains(id)) {
                break;
            }
            generated[count++] = id;
            if (!listener.token(id) || count == generated.length) {
                break;
            }
            logits = next(id);
        }
        return Arrays.copyOf(generated, count);
    }

    private float[] next(int... ids) {
        try (Tape tape = Tape.inference(memory)) {
            Tensor tokens = tape.empty(DType.I32, ids.length).set(ids);
            return model.next(tape, tokens, cache).toFloats();
        }
    }

    @Override
    public void close() {
        cache.close();
        if (own != null) {
            own.close();
        }
    }
}
