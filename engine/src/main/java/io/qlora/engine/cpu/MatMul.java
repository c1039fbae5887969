package io.qlora.engine.cpu;

import io.qlora.engine.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * The matrix product of the CPU: {@code C = Σ left · right}, all terms as one sum. The right-hand sides come in panels
 * from a {@link PanelSource}, dense or quantised; an adapter rides along as one more term.
 *
 * <p>After Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008): up to {@link #MC} rows of
 * the left operands are packed once; each of {@link ProductTasks} then takes some columns of the result.
 *
 * <p>An element's sum runs over k in order, in blocks of about {@link #KC} that are added to one another: it depends on
 * shapes alone, not on who computes it. Several threads may use one object at a time.
 */
public final class MatMul {

    /** Rows of a tile. */
    public static final int MR = MicroKernel.ROWS;

    /** Columns of a tile and of a panel: two vectors. */
    public static final int NR = MicroKernel.COLUMNS;

    /** Length of the sum in one panel, at most: a panel stays in the first-level cache while it is used. */
    public static final int KC = 256;

    private static final int MC = 96 * MR; // rows packed at a time: KC of each stay in the second-level cache
    private static final int GROUPS = 4; // of the sum, packed at a time
    private static final int PACKING_TILES = 2; // of rows, a task of packing

    private final Workers workers;

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
        Result result = result(terms, c, accumulate);
        Result more = Result.of(c, true);
        Depth depth = Depth.of(terms);
        inSlices(result.rows(), depth, GROUPS, left -> {
            List<Tasks> first = left.firstRow + left.firstGroup == 0 ? preparations(terms) : new ArrayList<>();
            first.add(Tasks.of(
                    packings(left), task -> left.pack(terms, packingFrom(left, task), packingFrom(left, task + 1))));
            Tasks.run(workers, first);
            Tasks.run(workers, List.of(new ProductTasks(left, terms, left.firstGroup == 0 ? result : more)));
        });
    }

    /** What has to be done before the right-hand sides of {@code terms} are packed. */
    static List<Tasks> preparations(List<Term> terms) {
        List<Tasks> tasks = new ArrayList<>();
        for (Term term : terms) {
            tasks.add(Tasks.of(term.right().preparations(), term.right()::prepare));
        }
        return tasks;
    }

    /** Where the sum of {@code terms} goes. */
    static Result result(List<Term> terms, Tensor c, boolean accumulate) {
        Result result = Result.of(c, accumulate);
        for (Term term : terms) {
            result.require(term.left().rows(), term.right().width());
        }
        return result;
    }

    /** What is done with some rows. */
    @FunctionalInterface
    interface Slice {
        void run(LeftPanels left);
    }

    /** Runs {@code slice} for at most {@link #MC} rows after the other, as even as tiles allow, and all of the sum. */
    static void inSlices(int rows, Depth depth, Slice slice) {
        inSlices(rows, depth, depth.groups, slice);
    }

    /** The same, {@code groups} groups of the sum at a time. */
    private static void inSlices(int rows, Depth depth, int groups, Slice slice) {
        if (rows == 0) {
            return;
        }
        int most = Math.ceilDiv(Math.ceilDiv(rows, Math.ceilDiv(rows, MC)), MR) * MR;
        for (int row = 0; row < rows; row += most) {
            for (int group = 0; group == 0 || group < depth.groups; group += groups) {
                int end = Math.min(depth.groups, group + groups);
                try (LeftPanels left = new LeftPanels(row, Math.min(most, rows - row), depth, group, end)) {
                    slice.run(left);
                }
            }
        }
    }

    /** Number of tasks in which these rows are packed. */
    static int packings(LeftPanels left) {
        return Math.ceilDiv(left.tiles, PACKING_TILES);
    }

    /** The first tile of a task of packing; of the one after the last, the number of tiles. */
    static int packingFrom(LeftPanels left, int task) {
        return Math.min(left.tiles, task * PACKING_TILES);
    }
}
