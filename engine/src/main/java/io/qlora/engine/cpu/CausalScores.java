package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import jdk.incubator.vector.FloatVector;
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
     * @param state the lanes' maxima, then their sums, then room for the factors between the old maxima and the new
     * @param output {@code [size][LANES]}
     */
    static void softmax(float[] scores, int rows, float[] state, float[] output, int size) {
        raise(scores, rows, state);
        exponentials(scores, rows, state, 0);
        exponentials(scores, rows, state, WIDTH);
        shrink(output, size, state);
    }

    // Both halves of the lanes at once where one alone would wait for its own last step; one after the other where both
    // together would make a method too large for the compiler to inline everything.

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
        before0.sub(max0).intoArray(state, 2 * LANES);
        before1.sub(max1).intoArray(state, 2 * LANES + WIDTH);
    }

    private static void exponentials(float[] scores, int rows, float[] state, int lane) {
        FloatVector max = FloatVector.fromArray(FLOATS, state, lane);
        FloatVector shrink = Lanes.exp(FloatVector.fromArray(FLOATS, state, 2 * LANES + lane));
        FloatVector sum = FloatVector.fromArray(FLOATS, state, LANES + lane).mul(shrink);
        for (int at = lane; at < rows * LANES; at += LANES) {
            FloatVector weight =
                    Lanes.exp(FloatVector.fromArray(FLOATS, scores, at).sub(max));
            weight.intoArray(scores, at);
            sum = sum.add(weight);
        }
        shrink.intoArray(state, 2 * LANES + lane);
        sum.intoArray(state, LANES + lane);
    }

    private static void shrink(float[] output, int size, float[] state) {
        FloatVector shrink0 = FloatVector.fromArray(FLOATS, state, 2 * LANES);
        FloatVector shrink1 = FloatVector.fromArray(FLOATS, state, 2 * LANES + WIDTH);
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
        softmaxGradient(scores, gradients, rows, state, 0);
        softmaxGradient(scores, gradients, rows, state, WIDTH);
    }

    private static void softmaxGradient(float[] scores, float[] gradients, int rows, float[] state, int lane) {
        FloatVector logSumExp = FloatVector.fromArray(FLOATS, state, lane);
        FloatVector delta = FloatVector.fromArray(FLOATS, state, LANES + lane);
        for (int row = 0; row < rows; row++) {
            int at = row * LANES + lane;
            FloatVector p = Lanes.exp(FloatVector.fromArray(FLOATS, scores, at).sub(logSumExp));
            FloatVector d = FloatVector.fromArray(FLOATS, gradients, at).sub(delta);
            p.intoArray(scores, at);
            p.mul(d).intoArray(gradients, at);
        }
    }
}
