package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.WIDTH;
import static io.qlora.engine.cpu.MatMul.KC;
import static io.qlora.engine.cpu.MatMul.NR;

/**
 * {@code scale · dyᵀ · u}, of rows of dy as they are packed for another product, and a u of few columns: dy is not read
 * again, nor is anything of it transposed.
 */
final class ThinGradient implements Tasks {

    private static final int COLUMNS = 8 * ThinKernel.ROWS; // of dy, a task
    private static final int PARTS = Math.ceilDiv(KC, COLUMNS); // of a block

    private final LeftPanels dy;
    private final int blocks;
    private final RightPanels u;
    private final float scale;
    private final Result result;

    /**
     * Cuts the product in tasks.
     *
     * @param dy rows in which dy is the first term
     * @param u as many rows, packed
     * @param result [out, R]
     */
    ThinGradient(LeftPanels dy, RightPanels u, float scale, Result result) {
        this.dy = dy;
        this.blocks = dy.depth.blocksBefore(1);
        this.u = u;
        this.scale = scale;
        this.result = result;
    }

    @Override
    public int count() {
        return blocks * PARTS;
    }

    @Override
    public void run(int task) {
        int b = task / PARTS;
        int from = task % PARTS * COLUMNS;
        int count = Math.min(COLUMNS, dy.depth.length(b) - from);
        if (count <= 0) {
            return;
        }
        float[] block = Scratch.ofThread().zeroBlock(u.panels * COLUMNS * NR);
        for (int row = 0; row < dy.rows; row += KC) {
            int start = dy.start(dy.depth.group(b), row) + dy.depth.column(b) + from;
            multiply(row, start, count, block);
        }
        for (int i = 0; i < u.panels * COLUMNS * NR; i++) {
            block[i] *= scale;
        }
        result.store(block, COLUMNS * NR, dy.depth.from(b) + from, count, 0, result.cols());
    }

    /** Adds the products of up to KC rows, from {@code row} on. The last tile's rest is computed and not used. */
    private void multiply(int row, int start, int count, float[] block) {
        int depth = Math.min(KC, dy.rows - row);
        for (int p = 0; p < u.panels; p++) {
            for (int half = 0; half < u.cols(p); half += WIDTH) {
                int right = u.start(p, row / KC) + half;
                int to = p * COLUMNS * NR + half;
                for (int c = 0; c < count; c += ThinKernel.ROWS) {
                    ThinKernel.multiplyTransposed(depth, dy.data, start + c, u.data, right, block, to + c * NR);
                }
            }
        }
    }
}
