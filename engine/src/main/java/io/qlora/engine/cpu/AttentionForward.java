package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.CausalScores.BLOCK;
import static io.qlora.engine.cpu.CausalScores.LANES;
import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import jdk.incubator.vector.FloatVector;

/**
 * The forward pass of attention for one key/value head at a time, and the arrays it needs, a thread's own. All products
 * are of {@link StridedTile}, with the queries as columns: scores = K·Qᵀ, output = Vᵀ·P.
 */
final class AttentionForward {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

    private static final ThreadLocal<AttentionForward> OWN = ThreadLocal.withInitial(AttentionForward::new);

    private final HeadRows keys = new HeadRows(); // [U, D]
    private final HeadRows values = new HeadRows(); // [U, D]
    private final float[] scores = new float[BLOCK * LANES]; // [BLOCK, LANES]
    private final float[] state = new float[CausalScores.STATE];
    private float[] rows = new float[0]; // squares of [LANES, D]: queries, later outputs
    private float[] lanes = new float[0]; // [D, LANES]: queries
    private float[] output = new float[0]; // [D, LANES]
    private int size; // D
    private float scale;

    private AttentionForward() {}

    /** The calling thread's. */
    static AttentionForward own() {
        return OWN.get();
    }

    /**
     * The keys and values that queries will attend to.
     *
     * @param offset of the first row's head, bytes
     * @param rowBytes from row to row
     */
    void attendTo(MemorySegment k, MemorySegment v, long offset, long rowBytes, int count, int headSize) {
        size = headSize;
        scale = (float) (1 / Math.sqrt(size));
        keys.load(k, offset, rowBytes, count, size);
        values.load(v, offset, rowBytes, count, size);
        if (rows.length < Squares.length(size)) {
            rows = new float[Squares.length(size)];
            lanes = new float[Squares.length(size)];
            output = new float[Squares.length(size)];
        }
    }

    /**
     * Attends from up to LANES queries in a row.
     *
     * @param offset of the first query's head in q and y, bytes
     * @param rowBytes from query to query
     * @param first the first query's position, counted from the first key
     * @param logSumExp where the queries' log-sum-exp go, one behind the other from {@code logOffset} bytes on; or null
     */
    void attend(
            MemorySegment q,
            long offset,
            long rowBytes,
            int count,
            int first,
            MemorySegment y,
            MemorySegment logSumExp,
            long logOffset) {
        Squares.load(q, offset, rowBytes, count, size, scale, rows);
        Squares.transpose(rows, size, lanes);
        Arrays.fill(output, 0, keys.stride * LANES, 0f);
        CausalScores.begin(state);
        int seen = first + count; // keys that the last query sees
        for (int from = 0; from < seen; from += BLOCK) {
            block(from, Math.min(BLOCK, seen - from), first);
        }
        divide(output, size, state);
        Squares.transpose(output, size, rows);
        Squares.store(rows, count, size, y, offset, rowBytes, false);
        for (int lane = 0; lane < count && logSumExp != null; lane++) {
            // not Math.log, whose last bit may depend on the compiler
            double log = state[lane] + StrictMath.log(state[CausalScores.SUMS + lane]);
            logSumExp.set(FLOAT, logOffset + 4L * lane, (float) log);
        }
    }

    private void block(int from, int count, int first) {
        int stride = keys.stride;
        Arrays.fill(scores, 0, HeadRows.padded(count) * LANES, 0f);
        StridedTile.multiply(count, size, keys.data, from * stride, stride, 1, lanes, 0, scores, 0);
        CausalScores.hide(scores, from, count, first);
        CausalScores.softmax(scores, count, state, output, size);
        StridedTile.multiply(size, count, values.data, from * stride, 1, stride, scores, 0, output, 0);
    }

    /** Divides the lanes by their sums. */
    private static void divide(float[] output, int size, float[] state) {
        for (int lane = 0; lane < LANES; lane += WIDTH) {
            FloatVector sum = FloatVector.fromArray(FLOATS, state, CausalScores.SUMS + lane);
            for (int d = 0; d < size; d++) {
                int at = d * LANES + lane;
                FloatVector.fromArray(FLOATS, output, at).div(sum).intoArray(output, at);
            }
        }
    }
}
