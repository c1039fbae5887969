package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.WIDTH;
import static io.qlora.engine.cpu.MatMul.MR;
import static io.qlora.engine.cpu.MatMul.NR;
import static io.qlora.engine.cpu.MicroKernel.STRIDE;

import java.util.List;

/**
 * The product of packed rows with right-hand sides, cut in columns, and in rows if need be. A task packs one panel of the
 * right-hand side after the other, runs {@link MicroKernel} down the packed rows, gathers the result in a block of its own,
 * and writes it once.
 */
final class ProductTasks implements Tasks {

    private static final int COLUMNS = 128; // a task's, at most
    private static final int TILES = 8; // of rows; fewer would not pay for packing the panel once more
    private static final int ENOUGH = 32; // tasks, if there are the columns: more than most machines have cores
    private static final int NARROW = 8; // tasks of a product that is cut in rows, too, for want of columns

    private final LeftPanels left;
    private final List<Term> terms;
    private final Result result;
    private final int panels;
    private final int panelsPerTask;
    private final int tilesPerTask;
    private final int across;
    private final int down;

    ProductTasks(LeftPanels left, List<Term> terms, Result result) {
        this.left = left;
        this.terms = terms;
        this.result = result;
        this.panels = Math.ceilDiv(result.cols(), NR);
        int perTask = Math.max(1, COLUMNS / NR);
        while (perTask > 1 && Math.ceilDiv(panels, perTask) < ENOUGH) {
            perTask /= 2;
        }
        this.panelsPerTask = perTask;
        this.across = Math.max(1, Math.ceilDiv(panels, perTask));
        int most = Math.clamp(NARROW / across, 1, Math.max(1, left.tiles / TILES));
        this.tilesPerTask = Math.ceilDiv(left.tiles, most);
        this.down = Math.ceilDiv(left.tiles, tilesPerTask);
    }

    @Override
    public int count() {
        return across * down;
    }

    @Override
    public void run(int task) {
        int panel = task % across * panelsPerTask;
        int tile = task / across * tilesPerTask;
        int panelEnd = Math.min(panels, panel + panelsPerTask);
        int tileEnd = Math.min(left.tiles, tile + tilesPerTask);
        compute(panel, panelEnd, tile * MR, (tileEnd - tile) * MR);
    }

    private void compute(int panelFrom, int panelTo, int rowFrom, int tileRows) {
        Scratch scratch = Scratch.ofThread();
        int panelBlock = tileRows * NR; // a panel's part of the block
        float[] block = scratch.zeroBlock((panelTo - panelFrom) * panelBlock);
        for (int g = left.firstGroup; g < left.endGroup; g++) {
            int length = left.depth.groupLength(g);
            int start = left.start(g, rowFrom);
            for (int p = panelFrom; p < panelTo; p++) {
                int cols = cols(p);
                pack(g, p, cols, scratch);
                int blockStart = (p - panelFrom) * panelBlock;
                multiply(tileRows, cols, length, left.data, start, scratch.panel, 0, block, blockStart);
            }
        }
        int rows = Math.min(tileRows, left.rows - rowFrom);
        int cols = (panelTo - panelFrom - 1) * NR + cols(panelTo - 1);
        result.store(block, panelBlock, left.firstRow + rowFrom, rows, panelFrom * NR, cols);
    }

    private int cols(int panel) {
        return Math.min(NR, result.cols() - panel * NR);
    }

    /** Packs a group's part of a panel: its blocks, one below the other. */
    private void pack(int g, int panel, int cols, Scratch scratch) {
        Depth depth = left.depth;
        for (int b = depth.first(g); b < depth.first(g + 1); b++) {
            PanelSource right = terms.get(depth.term(b)).right();
            float[] to = depth.column(b) == 0 ? scratch.panel : scratch.part;
            right.pack(depth.from(b), depth.length(b), panel * NR, cols, to, scratch.source);
            if (to == scratch.part) {
                System.arraycopy(to, 0, scratch.panel, depth.column(b) * NR, depth.length(b) * NR);
            }
        }
    }

    /** Adds the product of packed rows, a multiple of {@code MR}, and a panel of {@code cols} columns to a block. */
    static void multiply(
            int tileRows,
            int cols,
            int depth,
            float[] left,
            int leftStart,
            float[] panel,
            int panelStart,
            float[] block,
            int blockStart) {
        int row = 0;
        for (; cols <= WIDTH && row + ThinKernel.ROWS <= tileRows; row += ThinKernel.ROWS) {
            int start = leftStart + row * STRIDE;
            ThinKernel.multiply(depth, left, start, panel, panelStart, block, blockStart + row * NR);
        }
        for (; row < tileRows; row += MR) {
            int start = leftStart + row * STRIDE;
            MicroKernel.multiply(depth, left, start, panel, panelStart, block, blockStart + row * NR);
        }
    }
}
