package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.CausalScores.BLOCK;
import static io.qlora.engine.cpu.CausalScores.LANES;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;

/**
 * The backward pass of attention for one key/value head of one document at a time, and the arrays it needs, a thread's
 * own. As in {@link AttentionForward} queries are columns where they can be: scores = K·Qᵀ, dP = V·dYᵀ, dQᵀ = Kᵀ·dS; and
 * the gradients of keys and values, dV = P·dY and dK = dS·Q, are summed up over the queries in the order of heads, then
 * positions.
 */
final class AttentionBackward {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

    private static final ThreadLocal<AttentionBackward> OWN = ThreadLocal.withInitial(AttentionBackward::new);

    private final HeadRows keys = new HeadRows(); // [U, D]
    private final HeadRows values = new HeadRows(); // [U, D]
    private final float[] scores = new float[BLOCK * LANES]; // [BLOCK, LANES], later probabilities
    private final float[] scoreGradients = new float[BLOCK * LANES];
    private final float[] state = new float[2 * LANES]; // the lanes' log-sum-exp and Δ
    private float[] queryRows = new float[0]; // squares of [LANES, D]
    private float[] queryLanes = new float[0]; // [D, LANES]
    private float[] gradientRows = new float[0]; // squares of [LANES, D]: of the outputs
    private float[] gradientLanes = new float[0]; // [D, LANES]
    private float[] queryGradients = new float[0]; // [D, LANES]
    private float[] keyGradients = new float[0]; // [U, LANES] for every LANES columns
    private float[] valueGradients = new float[0];
    private int size; // D
    private int count; // U, rounded up to whole tiles
    private float scale;

    private AttentionBackward() {}

    /** The calling thread's. */
    static AttentionBackward own() {
        return OWN.get();
    }

    /** The keys and values that were attended to. Parameters as in {@link AttentionForward#attendTo}. */
    void attendTo(MemorySegment k, MemorySegment v, long offset, long rowBytes, int keyCount, int headSize) {
        size = headSize;
        scale = (float) (1 / Math.sqrt(size));
        count = HeadRows.padded(keyCount);
        keys.load(k, offset, rowBytes, keyCount, size);
        values.load(v, offset, rowBytes, keyCount, size);
        if (queryRows.length < Squares.length(size)) {
            queryRows = new float[Squares.length(size)];
            queryLanes = new float[Squares.length(size)];
            gradientRows = new float[Squares.length(size)];
            gradientLanes = new float[Squares.length(size)];
            queryGradients = new float[Squares.length(size)];
        }
        int length = Math.multiplyExact(Math.ceilDiv(size, LANES) * LANES, count);
        if (keyGradients.length < length) {
            keyGradients = new float[length];
            valueGradients = new float[length];
        }
        Arrays.fill(keyGradients, 0, length, 0f);
        Arrays.fill(valueGradients, 0, length, 0f);
    }

    /**
     * Goes back from up to LANES queries in a row.
     *
     * @param offset of the first query's head in q, dy and dq, bytes
     * @param rowBytes from query to query
     * @param first the first query's position, counted from the first key
     * @param logSumExp of the queries, one behind the other from {@code logOffset} bytes on
     * @param delta as logSumExp
     * @param dq where the queries' gradients go, or null
     */
    void attend(
            MemorySegment q,
            MemorySegment dy,
            long offset,
            long rowBytes,
            int queries,
            int first,
            MemorySegment logSumExp,
            MemorySegment delta,
            long logOffset,
            MemorySegment dq,
            boolean add) {
        Squares.load(q, offset, rowBytes, queries, size, scale, queryRows);
        Squares.transpose(queryRows, size, queryLanes);
        Squares.load(dy, offset, rowBytes, queries, size, 1f, gradientRows);
        Squares.transpose(gradientRows, size, gradientLanes);
        Arrays.fill(state, 0f);
        MemorySegment.copy(logSumExp, FLOAT, logOffset, state, 0, queries);
        MemorySegment.copy(delta, FLOAT, logOffset, state, LANES, queries);
        Arrays.fill(queryGradients, 0, keys.stride * LANES, 0f);
        int seen = first + queries;
        for (int from = 0; from < seen; from += BLOCK) {
            block(from, Math.min(BLOCK, seen - from), first, queries);
        }
        if (dq != null) {
            Squares.scale(queryGradients, size, scale);
            Squares.transpose(queryGradients, size, queryLanes);
            Squares.store(queryLanes, queries, size, dq, offset, rowBytes, add);
        }
    }

    private void block(int from, int rows, int first, int queries) {
        int stride = keys.stride;
        int whole = HeadRows.padded(rows); // keys beyond the last query's are hidden and so contribute nothing
        Arrays.fill(scores, 0, whole * LANES, 0f);
        Arrays.fill(scoreGradients, 0, whole * LANES, 0f);
        StridedTile.multiply(whole, size, keys.data, from * stride, stride, 1, queryLanes, 0, scores, 0);
        StridedTile.multiply(whole, size, values.data, from * stride, stride, 1, gradientLanes, 0, scoreGradients, 0);
        CausalScores.hide(scores, from, whole, first);
        CausalScores.softmaxGradient(scores, scoreGradients, whole, state);
        if (from == 0 && first == 0) {
            scoreGradients[0] *= 0f; // of the first query, whose only key's weight is 1 whatever the score; NaN stays
        }
        StridedTile.multiply(size, rows, keys.data, from * stride, 1, stride, scoreGradients, 0, queryGradients, 0);
        for (int column = 0; column < size; column += LANES) {
            int to = (column / LANES * count + from) * LANES;
            StridedTile.multiply(whole, queries, scores, 0, LANES, 1, gradientRows, column * LANES, valueGradients, to);
            StridedTile.multiply(
                    whole, queries, scoreGradients, 0, LANES, 1, queryRows, column * LANES, keyGradients, to);
        }
    }

    /** Writes, or adds, the keys' gradients of all queries so far. */
    void storeKeyGradients(MemorySegment dk, long offset, long rowBytes, int rows, boolean add) {
        store(keyGradients, dk, offset, rowBytes, rows, add);
    }

    /** Writes, or adds, the values' gradients of all queries so far. */
    void storeValueGradients(MemorySegment dv, long offset, long rowBytes, int rows, boolean add) {
        store(valueGradients, dv, offset, rowBytes, rows, add);
    }

    private void store(float[] gradients, MemorySegment x, long offset, long rowBytes, int rows, boolean add) {
        for (int column = 0; column < size; column += LANES) {
            int width = Math.min(LANES, size - column);
            for (int row = 0; row < rows; row++) {
                int start = (column / LANES * count + row) * LANES;
                Squares.store(gradients, start, width, x, offset + row * rowBytes + 4L * column, add);
            }
        }
    }
}
