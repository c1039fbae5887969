package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;

/**
 * Scores of a block of keys, one a row, against as many queries of one head as a tile has columns, one a lane: everything
 * that attention does with scores is then done in all lanes at once, with no sum or maximum across them. Lane l is the
 * query at position {@code first + l} and sees the keys up to that position.
 */
final class CausalScores {

    /** Queries. */
    static final int LANES = StridedTile.COLUMNS;

    /** Keys at a time: their scores and a block of keys fit in the first-level cache together. */
    static final int BLOCK = 64;

    /** Where in the state of a softmax the lanes' sums are. */
    static final int SUMS = LANES;

    private static final int FACTORS = 2 * LANES; // between the old maxima and the new
    private static final int ZEROS = 3 * LANES;
    private static final int UNUSED = 4 * LANES;

    /** Floats in the state of a softmax. */
    static final int STATE = 5 * LANES;

    private static final FloatVector LANE = FloatVector.zero(FLOATS).addIndex(1);

    private CausalScores() {}

    /** Sets the scores that are not to be seen to −∞. The block begins with key {@code from}. */
    static void hide(float[] scores, int from, int rows, int first) {
        for (int row = Math.max(0, first + 1 - from); row < rows; row++) {
            int blind = from + row - first; // lanes before this one
            hide(scores, row * LANES, blind);
            hide(scores, row * LANES + WIDTH, blind - WIDTH);
        }
    }

    private static void hide(float[] scores, int start, int blind) {
        FloatVector score = FloatVector.fromArray(FLOATS, scores, start);
        score.blend(Float.NEGATIVE_INFINITY, LANE.compare(VectorOperators.LT, blind))
                .intoArray(scores, start);
    }

    /**
     * One step of the softmax with a running maximum: turns scores into e^(score − maximum), and scales what was summed
     * under the maximum so far to the new one.
     *
     * @param state {@link #STATE} floats: the lanes' maxima, then their sums, then what {@link #begin} has put there
     * @param output {@code [size][LANES]}
     */
    static void softmax(float[] scores, int rows, float[] state, float[] output, int size) {
        raise(scores, rows, state);
        exponentials(state, FACTORS, 1, state, ZEROS, UNUSED);
        shrink(output, size, state);
        exponentials(scores, 0, rows, state, 0, SUMS);
    }

    /** The state before the first step. */
    static void begin(float[] state) {
        Arrays.fill(state, 0f);
        Arrays.fill(state, 0, LANES, Float.NEGATIVE_INFINITY);
    }

    private static void raise(float[] scores, int rows, float[] state) {
        FloatVector before0 = FloatVector.fromArray(FLOATS, state, 0);
        FloatVector before1 = FloatVector.fromArray(FLOATS, state, WIDTH);
        FloatVector max0 = before0;
        FloatVector max1 = before1;
        for (int at = 0; at < rows * LANES; at += LANES) {
            // A NaN is never greater; it comes through when it meets the exponential.
            FloatVector score0 = FloatVector.fromArray(FLOATS, scores, at);
            FloatVector score1 = FloatVector.fromArray(FLOATS, scores, at + WIDTH);
            max0 = max0.blend(score0, score0.compare(VectorOperators.GT, max0));
            max1 = max1.blend(score1, score1.compare(VectorOperators.GT, max1));
        }
        max0.intoArray(state, 0);
        max1.intoArray(state, WIDTH);
        before0.sub(max0).intoArray(state, FACTORS);
        before1.sub(max1).intoArray(state, FACTORS + WIDTH);
    }

    /**
     * Turns rows into e^(value − maximum), none of which is above 1, and adds them to sums. This is {@link Lanes#exp}
     * written out, twice: so deep in what calls it the compiler would inline no helper, and vectors would become objects;
     * and a method of this size it does not inline itself.
     */
    private static void exponentials(float[] values, int start, int rows, float[] state, int maxima, int sums) {
        FloatVector max0 = FloatVector.fromArray(FLOATS, state, maxima);
        FloatVector max1 = FloatVector.fromArray(FLOATS, state, maxima + WIDTH);
        FloatVector sum0 = FloatVector.fromArray(FLOATS, state, sums);
        FloatVector sum1 = FloatVector.fromArray(FLOATS, state, sums + WIDTH);
        for (int at = start; at < start + rows * LANES; at += LANES) {
            FloatVector x0 = FloatVector.fromArray(FLOATS, values, at).sub(max0);
            FloatVector s0 = x0.mul(Lanes.LOG2E).add(Lanes.ROUND);
            FloatVector n0 = s0.sub(Lanes.ROUND);
            FloatVector r0 = n0.fma(FloatVector.broadcast(FLOATS, -Lanes.LN2_HIGH), x0);
            r0 = n0.fma(FloatVector.broadcast(FLOATS, -Lanes.LN2_LOW), r0);
            FloatVector p0 = FloatVector.broadcast(FLOATS, Lanes.EXP7);
            p0 = p0.fma(r0, FloatVector.broadcast(FLOATS, Lanes.EXP6));
            p0 = p0.fma(r0, FloatVector.broadcast(FLOATS, Lanes.EXP5));
            p0 = p0.fma(r0, FloatVector.broadcast(FLOATS, Lanes.EXP4));
            p0 = p0.fma(r0, FloatVector.broadcast(FLOATS, Lanes.EXP3));
            p0 = p0.fma(r0, FloatVector.broadcast(FLOATS, Lanes.EXP2));
            p0 = p0.fma(r0.mul(r0), r0).add(1f);
            IntVector e0 = s0.reinterpretAsInts().add(127).lanewise(VectorOperators.LSHL, 23);
            p0 = p0.mul(e0.reinterpretAsFloats()).blend(0f, x0.compare(VectorOperators.LT, Lanes.EXP_ZERO));
            p0.intoArray(values, at);
            sum0 = sum0.add(p0);
            FloatVector x1 = FloatVector.fromArray(FLOATS, values, at + WIDTH).sub(max1);
            FloatVector s1 = x1.mul(Lanes.LOG2E).add(Lanes.ROUND);
            FloatVector n1 = s1.sub(Lanes.ROUND);
            FloatVector r1 = n1.fma(FloatVector.broadcast(FLOATS, -Lanes.LN2_HIGH), x1);
            r1 = n1.fma(FloatVector.broadcast(FLOATS, -Lanes.LN2_LOW), r1);
            FloatVector p1 = FloatVector.broadcast(FLOATS, Lanes.EXP7);
            p1 = p1.fma(r1, FloatVector.broadcast(FLOATS, Lanes.EXP6));
            p1 = p1.fma(r1, FloatVector.broadcast(FLOATS, Lanes.EXP5));
            p1 = p1.fma(r1, FloatVector.broadcast(FLOATS, Lanes.EXP4));
            p1 = p1.fma(r1, FloatVector.broadcast(FLOATS, Lanes.EXP3));
            p1 = p1.fma(r1, FloatVector.broadcast(FLOATS, Lanes.EXP2));
            p1 = p1.fma(r1.mul(r1), r1).add(1f);
            IntVector e1 = s1.reinterpretAsInts().add(127).lanewise(VectorOperators.LSHL, 23);
            p1 = p1.mul(e1.reinterpretAsFloats()).blend(0f, x1.compare(VectorOperators.LT, Lanes.EXP_ZERO));
            p1.intoArray(values, at + WIDTH);
            sum1 = sum1.add(p1);
        }
        sum0.intoArray(state, sums);
        sum1.intoArray(state, sums + WIDTH);
    }

    private static void shrink(float[] output, int size, float[] state) {
        FloatVector shrink0 = FloatVector.fromArray(FLOATS, state, FACTORS);
        FloatVector shrink1 = FloatVector.fromArray(FLOATS, state, FACTORS + WIDTH);
        FloatVector.fromArray(FLOATS, state, SUMS).mul(shrink0).intoArray(state, SUMS);
        FloatVector.fromArray(FLOATS, state, SUMS + WIDTH).mul(shrink1).intoArray(state, SUMS + WIDTH);
        for (int at = 0; at < size * LANES; at += LANES) {
            FloatVector.fromArray(FLOATS, output, at).mul(shrink0).intoArray(output, at);
            FloatVector.fromArray(FLOATS, output, at + WIDTH).mul(shrink1).intoArray(output, at + WIDTH);
        }
    }

    /**
     * The way back: scores become probabilities, and their gradients those of the scores.
     *
     * @param gradients of the probabilities, dy·v
     * @param state the lanes' log-sum-exp, then their Δ
     */
    static void softmaxGradient(float[] scores, float[] gradients, int rows, float[] state) {
        FloatVector logSumExp0 = FloatVector.fromArray(FLOATS, state, 0);
        FloatVector logSumExp1 = FloatVector.fromArray(FLOATS, state, WIDTH);
        FloatVector delta0 = FloatVector.fromArray(FLOATS, state, LANES);
        FloatVector delta1 = FloatVector.fromArray(FLOATS, state, LANES + WIDTH);
        for (int at = 0; at < rows * LANES; at += LANES) { // written out for the same reason
            FloatVector x0 = FloatVector.fromArray(FLOATS, scores, at).sub(logSumExp0);
            FloatVector s0 = x0.mul(Lanes.LOG2E).add(Lanes.ROUND);
            FloatVector n0 = s0.sub(Lanes.ROUND);
            FloatVector r0 = n0.fma(FloatVector.broadcast(FLOATS, -Lanes.LN2_HIGH), x0);
            r0 = n0.fma(FloatVector.broadcast(FLOATS, -Lanes.LN2_LOW), r0);
            FloatVector p0 = FloatVector.broadcast(FLOATS, Lanes.EXP7);
            p0 = p0.fma(r0, FloatVector.broadcast(FLOATS, Lanes.EXP6));
            p0 = p0.fma(r0, FloatVector.broadcast(FLOATS, Lanes.EXP5));
            p0 = p0.fma(r0, FloatVector.broadcast(FLOATS, Lanes.EXP4));
            p0 = p0.fma(r0, FloatVector.broadcast(FLOATS, Lanes.EXP3));
            p0 = p0.fma(r0, FloatVector.broadcast(FLOATS, Lanes.EXP2));
            p0 = p0.fma(r0.mul(r0), r0).add(1f);
            IntVector e0 = s0.reinterpretAsInts().add(127).lanewise(VectorOperators.LSHL, 23);
            p0 = p0.mul(e0.reinterpretAsFloats()).blend(0f, x0.compare(VectorOperators.LT, Lanes.EXP_ZERO));
            p0.intoArray(scores, at);
            FloatVector d0 = FloatVector.fromArray(FLOATS, gradients, at).sub(delta0);
            p0.mul(d0).intoArray(gradients, at);
            FloatVector x1 = FloatVector.fromArray(FLOATS, scores, at + WIDTH).sub(logSumExp1);
            FloatVector s1 = x1.mul(Lanes.LOG2E).add(Lanes.ROUND);
            FloatVector n1 = s1.sub(Lanes.ROUND);
            FloatVector r1 = n1.fma(FloatVector.broadcast(FLOATS, -Lanes.LN2_HIGH), x1);
            r1 = n1.fma(FloatVector.broadcast(FLOATS, -Lanes.LN2_LOW), r1);
            FloatVector p1 = FloatVector.broadcast(FLOATS, Lanes.EXP7);
            p1 = p1.fma(r1, FloatVector.broadcast(FLOATS, Lanes.EXP6));
            p1 = p1.fma(r1, FloatVector.broadcast(FLOATS, Lanes.EXP5));
            p1 = p1.fma(r1, FloatVector.broadcast(FLOATS, Lanes.EXP4));
            p1 = p1.fma(r1, FloatVector.broadcast(FLOATS, Lanes.EXP3));
            p1 = p1.fma(r1, FloatVector.broadcast(FLOATS, Lanes.EXP2));
            p1 = p1.fma(r1.mul(r1), r1).add(1f);
            IntVector e1 = s1.reinterpretAsInts().add(127).lanewise(VectorOperators.LSHL, 23);
            p1 = p1.mul(e1.reinterpretAsFloats()).blend(0f, x1.compare(VectorOperators.LT, Lanes.EXP_ZERO));
            p1.intoArray(scores, at + WIDTH);
            FloatVector d1 =
                    FloatVector.fromArray(FLOATS, gradients, at + WIDTH).sub(delta1);
            p1.mul(d1).intoArray(gradients, at + WIDTH);
        }
    }
}
