package io.qlora.llama;

import io.qlora.engine.autograd.Tape;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.ops.CachedAttention;
import io.qlora.engine.ops.Sequences;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** The keys and values of one document's tokens so far, in every block: what a new token attends to. */
final class KeyValueCache implements AutoCloseable {

    private record Layer(Tensor keys, Tensor values) {} // [capacity, K·D] each

    private final int heads;
    private final int kvHeads;
    private final int capacity;
    private final ModelMemory memory;
    private final List<Layer> layers = new ArrayList<>();
    private int past; // tokens before those of the pass that runs
    private int tokens; // those included

    /**
     * An empty cache.
     *
     * @param capacity the most tokens it can hold
     */
    KeyValueCache(LlamaModel model, int capacity) {
        LlamaConfig config = model.config();
        this.heads = config.numAttentionHeads();
        this.kvHeads = config.numKeyValueHeads();
        this.capacity = capacity;
        this.memory = new ModelMemory(model.device());
        DType kept = model.device().activations();
        for (int i = 0; i < config.numHiddenLayers(); i++) {
            layers.add(new Layer(
                    memory.empty(kept, capacity, config.keyValueWidth()),
                    memory.empty(kept, capacity, config.keyValueWidth())));
        }
    }

    int capacity() {
        return capacity;
    }

    long bytes() {
        return memory.bytes();
    }

    /** Forgets everything. */
    void clear() {
        past = 0;
        tokens = 0;
    }

    /** Makes room for {@code count} more tokens, and says where in the document they are. */
    Sequences append(Tape tape, int count) {
        if (count > capacity - tokens) {
            throw new IllegalStateException(
                    "the cache has room for " + (capacity - tokens) + " more tokens, found " + count);
        }
        past = tokens;
        tokens += count;
        int[] starts = {0, count};
        int[] positions = new int[count];
        for (int i = 0; i < count; i++) {
            positions[i] = past + i;
        }
        return new Sequences(
                starts,
                tape.empty(DType.I32, 2).set(starts),
                tape.empty(DType.I32, count).set(positions),
                tape.empty(DType.I32, count).set(new int[count]),
                tokens);
    }

    /** Attention of the newest tokens' queries q [N, H·D] to all tokens, the newest with k, v [N, K·D]; [N, H·D]. */
    Tensor attend(Tape tape, int layer, Tensor q, Tensor k, Tensor v) {
        Layer cached = layers.get(layer);
        q.device().copy(k, cached.keys.rows(past, tokens));
        q.device().copy(v, cached.values.rows(past, tokens));
        return CachedAttention.apply(tape, q, cached.keys, cached.values, past, heads, kvHeads);
    }

    @Override
    public void close() {
        memory.close();
    }
}
