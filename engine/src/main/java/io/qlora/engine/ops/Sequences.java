package io.qlora.engine.ops;

import io.qlora.engine.memory.BumpPool;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;

/**
 * How the rows of a batch fall into documents. A batch is a flat run of T tokens with no padding; document s is rows
 * {@code starts[s]} to {@code starts[s+1]}.
 *
 * @param starts where documents start, and where the last one ends: S+1 numbers, the first of them 0, rising
 * @param offsets I32 [S+1]: {@code starts} on the device
 * @param positions I32 [T]: each token's place in its document, from 0
 * @param documents I32 [T]: each token's document, counted over the whole optimizer step, so that dropout does not
 *     depend on how a step is split into micro-batches
 * @param longest the length of the longest document
 */
public record Sequences(int[] starts, Tensor offsets, Tensor positions, Tensor documents, int longest) {

    /**
     * The layout of documents of these lengths.
     *
     * @param pool where to put the three tensors
     * @param firstDocument the number of the first document in its optimizer step
     */
    public static Sequences of(BumpPool pool, int firstDocument, int... lengths) {
        int[] starts = new int[lengths.length + 1];
        int longest = 0;
        for (int s = 0; s < lengths.length; s++) {
            if (lengths[s] <= 0) {
                throw new IllegalArgumentException("Sequences: document " + s + " has length " + lengths[s]);
            }
            starts[s + 1] = Math.addExact(starts[s], lengths[s]);
            longest = Math.max(longest, lengths[s]);
        }
        int tokens = starts[lengths.length];
        int[] positions = new int[tokens];
        int[] documents = new int[tokens];
        for (int s = 0; s < lengths.length; s++) {
            for (int t = starts[s]; t < starts[s + 1]; t++) {
                positions[t] = t - starts[s];
                documents[t] = firstDocument + s;
            }
        }
        return new Sequences(
                starts,
                pool.empty(DType.I32, Shape.of(starts.length)).set(starts),
                pool.empty(DType.I32, Shape.of(tokens)).set(positions),
                pool.empty(DType.I32, Shape.of(tokens)).set(documents),
                longest);
    }

    /** S, the number of documents. */
    public int count() {
        return starts.length - 1;
    }

    /** T, the number of tokens. */
    public int tokens() {
        return starts[starts.length - 1];
    }
}
