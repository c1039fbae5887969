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
     * @param state the lanes' maxima, then their sums
     * @param output {@code [size][LANES]}
     */
    static void softmax(float[] scores, int rows, float[] state, float[] output, int size) {
        softmax(scores, rows, state, output, size, 0);
        softmax(scores, rows, state, output, size, WIDTH);
    }

    private static void softmax(float[] scores, int rows, float[] state, float[] output, int size, int lane) {
        FloatVector before = FloatVector.fromArray(FLOATS, state, lane);
        FloatVector max = before;
        for (int row = 0; row < rows; row++) {
            // A NaN is never greater; it comes through below, where it meets the exponential.
            FloatVector score = FloatVector.fromArray(FLOATS, scores, row * LANES + lane);
            max = max.blend(score, score.compare(VectorOperators.GT, max));
        }
        FloatVector shrink = Lanes.exp(before.sub(max));
        FloatVector sum = FloatVector.fromArray(FLOATS, state, LANES + lane).mul(shrink);
        for (int row = 0; row < rows; row++) {
            FloatVector score = FloatVector.fromArray(FLOATS, scores, row * LANES + lane);
            FloatVector weight = Lanes.exp(score.sub(max));
            weight.intoArray(scores, row * LANES + lane);
            sum = sum.add(weight);
        }
        max.intoArray(state, lane);
        sum.intoArray(state, LANES + lane);
        for (int d = 0; d < size; d++) {
            int at = d * LANES + lane;
            FloatVector.fromArray(FLOATS, output, at).mul(shrink).intoArray(output, at);
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
