package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.MatMul.MR;
import static io.qlora.engine.cpu.MatMul.NR;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * A weight and its low-rank adapter: {@link MatMul} of what both are multiplied with, packed once. While some rows of that
 * are still in the first-level cache, they are multiplied with the adapter's one factor; the other is one more term of the
 * weight's sum. On the way back the packed rows serve B's gradient, too, and both gradients are computed along with dx.
 */
public final class LowRankProduct {

    private final Workers workers;

    /** A product on these threads. */
    public LowRankProduct(Workers workers) {
        this.workers = workers;
    }

    /**
     * {@code u = x · down} and {@code y = x · w + scale · u · up}: {@code down} is Aᵀ, {@code up} is Bᵀ.
     *
     * @param x [M, K], F32 on the host
     * @param w [K, N]
     * @param down [K, R]
     * @param u [M, R], F32, written, without the scale
     * @param up [R, N]
     * @param y [M, N], F32, written
     */
    public void forward(Tensor x, PanelSource w, PanelSource down, float scale, Tensor u, PanelSource up, Tensor y) {
        List<Term> terms = List.of(new Term(Left.of(x), w), new Term(Left.of(u).scaled(scale), up));
        Result result = MatMul.result(terms, y, false);
        inSlices(terms, down, u, left -> Tasks.run(workers, List.of(new ProductTasks(left, terms, result))));
    }

    /**
     * {@code u = x · down} alone, the same as {@link #forward}, bit for bit.
     *
     * @param x [M, K], F32 on the host
     * @param down [K, R]
     * @param u [M, R], F32, written
     */
    public void down(Tensor x, PanelSource down, Tensor u) {
        inSlices(List.of(new Term(Left.of(x), down)), down, u, left -> {});
    }

    /**
     * {@code v = dy · b}, {@code dx = dy · w + scale · v · a}, {@code db = scale · dyᵀ · u}, {@code da = scale · vᵀ · x}.
     *
     * @param dy [M, out], F32 on the host
     * @param w [out, in]
     * @param b [out, R]
     * @param v [M, R], F32, written, without the scale
     * @param a [R, in]; null for a dx that lacks its part
     * @param dx [M, in], F32; null when not wanted
     * @param more da and db
     */
    public void backward(
            Tensor dy, PanelSource w, PanelSource b, float scale, Tensor v, PanelSource a, Grad dx, Gradients more) {
        List<Term> terms = new ArrayList<>(List.of(new Term(Left.of(dy), w)));
        if (dx != null && a != null) {
            terms.add(new Term(Left.of(v).scaled(scale), a));
        }
        Result result = dx == null ? null : MatMul.result(terms, dx.tensor(), dx.accumulate());
        inSlices(terms, b, v, left -> {
            List<Tasks> tasks = new ArrayList<>();
            if (dx != null) {
                tasks.add(new ProductTasks(left, terms, result));
            }
            try (RightPanels us = more.db == null ? null : more.packU(left, workers);
                    LeftPanels vs = more.da == null ? null : more.packV(left, v, scale)) {
                if (us != null) {
                    tasks.add(new ThinGradient(left, us, scale, of(more.db, left)));
                }
                if (vs != null) {
                    tasks.add(new ProductTasks(vs, List.of(more.termOfA(left, v, scale)), of(more.da, left)));
                }
                Tasks.run(workers, tasks);
            }
        });
    }

    /**
     * The gradients of an adapter's matrices, or null for one that is not wanted.
     *
     * @param u [M, R], F32; read only for db
     * @param db [out, R], F32
     * @param x [M, in], F32; read only for da
     * @param da [R, in], F32
     */
    public record Gradients(Tensor u, Grad db, Tensor x, Grad da) {

        private RightPanels packU(LeftPanels left, Workers workers) {
            RightPanels panels = new RightPanels(DensePanels.rows(left.of(u)));
            Tasks.run(workers, List.of(panels.packing()));
            return panels;
        }

        /** On this thread alone: it is little. */
        private LeftPanels packV(LeftPanels left, Tensor v, float scale) {
            Term term = termOfA(left, v, scale);
            LeftPanels panels = new LeftPanels(0, term.left().rows(), Depth.of(List.of(term)));
            panels.pack(List.of(term), 0, panels.tiles);
            return panels;
        }

        private Term termOfA(LeftPanels left, Tensor v, float scale) {
            return new Term(Left.transposed(left.of(v)).scaled(scale), DensePanels.rows(left.of(x)));
        }
    }

    /** Where the gradient from some rows goes: onto that of the rows before. */
    private static Result of(Grad grad, LeftPanels left) {
        return Result.of(grad.tensor(), grad.accumulate() || left.firstRow > 0);
    }

    /** Packs the first term's left side, {@code u = left · down}, and what there is of other terms; then runs the slice. */
    private void inSlices(List<Term> terms, PanelSource down, Tensor u, MatMul.Slice slice) {
        Left x = terms.getFirst().left();
        Result result = Result.of(u, false);
        result.require(x.rows(), down.width());
        Shapes.require(down.depth() == x.depth(), "LowRankProduct", "depth of down", down.depth(), "" + x.depth());
        Depth depth = Depth.of(terms);
        int ofX = depth.blocksBefore(1);
        try (RightPanels narrow = new RightPanels(down)) {
            List<Tasks> first = MatMul.preparations(terms);
            first.add(narrow.packing());
            Tasks.run(workers, first);
            MatMul.inSlices(x.rows(), depth, left -> {
                workers.run(MatMul.packings(left), task -> {
                    int from = MatMul.packingFrom(left, task);
                    int to = MatMul.packingFrom(left, task + 1);
                    left.pack(terms, 0, ofX, from, to);
                    multiply(left, narrow, from * MR, to * MR, result);
                    left.pack(terms, ofX, depth.blocks, from, to);
                });
                slice.run(left);
            });
        }
    }

    private static void multiply(LeftPanels left, RightPanels narrow, int rowFrom, int rowTo, Result result) {
        int tileRows = rowTo - rowFrom;
        float[] block = Scratch.ofThread().zeroBlock(narrow.panels * tileRows * NR);
        for (int p = 0; p < narrow.panels; p++) {
            int to = p * tileRows * NR;
            for (int b = 0; b < narrow.blocks; b++) {
                int start = left.start(left.depth.group(b), rowFrom) + left.depth.column(b);
                int right = narrow.start(p, b);
                ProductTasks.multiply(
                        tileRows,
                        narrow.cols(p),
                        left.depth.length(b),
                        left.data,
                        start,
                        narrow.data,
                        right,
                        block,
                        to);
            }
        }
        int rows = Math.min(tileRows, left.rows - rowFrom);
        result.store(block, tileRows * NR, left.firstRow + rowFrom, rows, 0, result.cols());
    }
}
