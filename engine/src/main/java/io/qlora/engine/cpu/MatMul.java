package io.qlora.engine.cpu;

import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;

/**
 * The matrix product of the CPU: {@code C = Σ left · right}, all terms as one sum. The right-hand sides come in panels
 * from a {@link PanelSource}, dense or quantised; an adapter rides along as one more term.
 *
 * <p>After Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008): up to {@link #MC} rows of
 * the left operands are packed once; each task then takes some columns of the result, packs one panel of the right-hand
 * side after the other, and runs {@link MicroKernel} down the packed rows. The result is gathered in the task's own
 * block and written once.
 *
 * <p>An element's sum runs over k in order, in blocks of {@link #KC} that are added to one another: it depends on shapes
 * alone, not on who computes it. Several threads may use one object at a time.
 */
public final class MatMul {

    /** Rows of a tile. */
    public static final int MR = MicroKernel.ROWS;

    /** Columns of a tile and of a panel: two vectors. */
    public static final int NR = MicroKernel.COLUMNS;

    /** Length of the sum in one panel, at most: a panel stays in the first-level cache while it is used. */
    public static final int KC = 256;

    private static final int MC = 96 * MR; // rows packed at a time: KC of each stay in the second-level cache
    private static final int TASK_COLUMNS = 128; // a task's, at most
    private static final int TASK_TILES = 8; // of rows; fewer would not pay for packing the panel once more
    private static final int PACKING_TILES = 4; // of rows, a task of packing
    private static final int TASKS = 32; // of a product, if it has the columns: more than most machines have cores
    private static final int NARROW_TASKS = 8; // of a product that is cut in rows, too, for want of columns

    private static final ThreadLocal<Scratch> SCRATCH = ThreadLocal.withInitial(Scratch::new);
    private static final Deque<float[]> SPARE = new ArrayDeque<>(); // for packed rows: one for each caller at a time

    private final Workers workers;

    /** A thread's own memory. */
    private static final class Scratch {
        final PanelScratch source = PanelScratch.ofThread();
        final float[] panel = new float[KC * NR];
        float[] block = new float[0];

        float[] zeroBlock(int length) {
            if (block.length < length) {
                block = new float[length];
            }
            Arrays.fill(block, 0, length, 0f);
            return block;
        }
    }

    /** A product on these threads. Costs nothing: the memory it works in is shared by all. */
    public MatMul(Workers workers) {
        this.workers = workers;
    }

    /**
     * {@code c = Σ left · right}, or {@code c +=}.
     *
     * @param terms left [M, K] and right [K, N] each, with a K of its own
     * @param c [M, N], F32 on the host
     */
    public void multiply(List<Term> terms, Tensor c, boolean accumulate) {
        multiply(terms, Result.of(c, accumulate));
    }

    /**
     * {@code cᵀ = Σ left · right}, or {@code cᵀ +=}: for a result that is tall where this side of the product is better
     * kept short.
     *
     * @param terms left [M, K] and right [K, N] each, with a K of its own
     * @param c [N, M], F32 on the host
     */
    public void multiplyTransposed(List<Term> terms, Tensor c, boolean accumulate) {
        multiply(terms, Result.transposed(c, accumulate));
    }

    private void multiply(List<Term> terms, Result result) {
        for (Term term : terms) {
            result.require(term.left().rows(), term.right().width());
        }
        List<Left> lefts = terms.stream().map(Term::left).toList();
        List<PanelSource> rights = terms.stream().map(Term::right).toList();
        Depth depth = Depth.of(terms);
        inSlices(result.rows(), depth, left -> {
            pack(left, lefts, 0, depth.blocks);
            compute(left, depth.blocks, rights, result);
        });
    }

    /**
     * {@code u = x · down} and {@code y = x · w + scale · u · up}, or {@code y +=}: a weight and its low-rank adapter, with
     * x packed once. Forward {@code down} is Aᵀ and {@code up} is Bᵀ; backward, of dy in x's place, B and A.
     *
     * @param x [M, K], F32 on the host
     * @param w [K, N]
     * @param down [K, R]
     * @param u [M, R], F32, written, without the scale
     * @param up [R, N]
     * @param y [M, N], F32
     * @param accumulate of y
     */
    public void multiplyLowRank(
            Tensor x,
            PanelSource w,
            PanelSource down,
            float scale,
            Tensor u,
            PanelSource up,
            Tensor y,
            boolean accumulate) {
        Result inner = Result.of(u, false);
        Result outer = Result.of(y, accumulate);
        inner.require(x.length(), down.width());
        outer.require(x.length(), up.width());
        outer.require(x.length(), w.width());
        Shapes.require(down.depth() == x.cols(), "MatMul", "depth of down", down.depth(), "" + x.cols());
        List<Term> terms = List.of(new Term(Left.of(x), w), new Term(Left.of(u).scaled(scale), up));
        List<Left> lefts = terms.stream().map(Term::left).toList();
        Depth depth = Depth.of(terms);
        int ofX = depth.blocksBefore(1);
        inSlices(x.length(), depth, left -> {
            pack(left, lefts, 0, ofX);
            compute(left, ofX, List.of(down), inner);
            pack(left, lefts, ofX, depth.blocks);
            compute(left, depth.blocks, List.of(w, up), outer);
        });
    }

    @FunctionalInterface
    private interface Slice {
        void run(LeftPanels left);
    }

    /** Runs {@code slice} for at most {@link #MC} rows after the other, as even as tiles allow. */
    private void inSlices(int rows, Depth depth, Slice slice) {
        if (rows == 0) {
            return;
        }
        int most = Math.ceilDiv(Math.ceilDiv(rows, Math.ceilDiv(rows, MC)), MR) * MR;
        float[] packed = take(Math.multiplyExact(most, depth.total()));
        try {
            for (int row = 0; row < rows; row += most) {
                slice.run(new LeftPanels(packed, row, Math.min(most, rows - row), depth));
            }
        } finally {
            give(packed);
        }
    }

    private static float[] take(int length) {
        float[] packed;
        synchronized (SPARE) {
            packed = SPARE.pollLast();
        }
        return packed != null && packed.length >= length ? packed : new float[length];
    }

    private static void give(float[] packed) {
        synchronized (SPARE) {
            SPARE.addLast(packed);
        }
    }

    private void pack(LeftPanels left, List<Left> lefts, int fromBlock, int toBlock) {
        workers.run(Math.ceilDiv(left.tiles, PACKING_TILES), task -> {
            int from = task * PACKING_TILES;
            int to = Math.min(left.tiles, from + PACKING_TILES);
            for (int b = fromBlock; b < toBlock; b++) {
                left.pack(b, lefts.get(left.depth.term(b)), from, to);
            }
        });
    }

    /** The product of the first {@code blocks} of the packed rows with {@code rights}, cut in columns, and in rows if need be. */
    private void compute(LeftPanels left, int blocks, List<PanelSource> rights, Result result) {
        int panels = Math.ceilDiv(result.cols(), NR);
        int perTask = Math.max(1, TASK_COLUMNS / NR);
        while (perTask > 1 && Math.ceilDiv(panels, perTask) < TASKS) {
            perTask /= 2;
        }
        int across = Math.max(1, Math.ceilDiv(panels, perTask));
        int down = Math.clamp(NARROW_TASKS / across, 1, Math.max(1, left.tiles / TASK_TILES));
        int tilesPerTask = Math.ceilDiv(left.tiles, down);
        int panelsPerTask = perTask;
        workers.run(across * down, task -> {
            int panel = task % across * panelsPerTask;
            int tile = task / across * tilesPerTask;
            int panelEnd = Math.min(panels, panel + panelsPerTask);
            int tileEnd = Math.min(left.tiles, tile + tilesPerTask);
            if (tile < tileEnd) {
                compute(left, blocks, rights, result, panel, panelEnd, tile, tileEnd);
            }
        });
    }

    private static void compute(
            LeftPanels left,
            int blocks,
            List<PanelSource> rights,
            Result result,
            int panelFrom,
            int panelTo,
            int tileFrom,
            int tileTo) {
        Scratch scratch = SCRATCH.get();
        int tiles = tileTo - tileFrom;
        int panelBlock = tiles * MR * NR; // a panel's part of the block
        float[] block = scratch.zeroBlock((panelTo - panelFrom) * panelBlock);
        for (int b = 0; b < blocks; b++) {
            PanelSource right = rights.get(left.depth.term(b));
            int length = left.depth.length(b);
            for (int p = panelFrom; p < panelTo; p++) {
                int cols = Math.min(NR, result.cols() - p * NR);
                right.pack(left.depth.from(b), length, p * NR, cols, scratch.panel, scratch.source);
                int start = left.start(b, tileFrom);
                int blockStart = (p - panelFrom) * panelBlock;
                multiplyTiles(tiles, length, left.data, start, scratch.panel, block, blockStart);
            }
        }
        int row = left.firstRow + tileFrom * MR;
        int rows = Math.min(tiles * MR, left.rows - tileFrom * MR);
        for (int p = panelFrom; p < panelTo; p++) {
            int cols = Math.min(NR, result.cols() - p * NR);
            result.store(block, (p - panelFrom) * panelBlock, row, rows, p * NR, cols);
        }
    }

    private static void multiplyTiles(
            int tiles, int depth, float[] left, int leftStart, float[] panel, float[] block, int blockStart) {
        for (int i = 0; i < tiles; i++) {
            MicroKernel.multiply(depth, left, leftStart + i * MR * depth, panel, block, blockStart + i * MR * NR);
        }
    }
}
