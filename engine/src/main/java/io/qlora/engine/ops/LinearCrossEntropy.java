package io.qlora.engine.ops;

import io.qlora.engine.autograd.Backward;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.autograd.Gradients;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;
import java.util.List;

/**
 * The head of a language model and its loss in one: negative log-likelihood of the targets under softmax.
 *
 * <pre>
 *   z[n]      = x[rows[n]] · headᵀ
 *   nll[n]    = logSumExp(z[n]) − z[n, targets[n]]
 *   loss      = scale · sum_n nll[n]
 *   dz[n]     = dloss · scale · (softmax(z[n]) − onehot(targets[n]))
 *   dx[t]     = sum of dz[n] · head over all n with rows[n] = t
 *   dhead     = dzᵀ · x[rows]                                          only when the head is trainable
 * </pre>
 *
 * The logits z are computed once, for rows that have a target only, some rows at a time: they are never whole in memory.
 * Since the loss is the end of every tape, the gradients are made on the spot, for dloss = 1, and kept: saves 4·N·C bytes
 * in float32 when x is tracked and 4·V·C when the head is.
 *
 * <p>Where x is bfloat16 so are z and dz, as in the reference, which computes the softmax of the logits widened; nll, the
 * loss, and what is summed for them are float32.
 */
public final class LinearCrossEntropy {

    private static final long CHUNK_ROWS =
            64; // at least: the head is read from memory once a chunk, twice with gradients

    /** Of a product on a card: there are tiles of 128 and of 256 rows. */
    private static final long TILE_ROWS = 256;

    private LinearCrossEntropy() {}

    /** What a backend provides besides {@link Embedding} and {@link Linear}. Shapes: logits [n, V], of activations;
     * targets [n], I32. */
    public interface Kernel {

        /**
         * Negative log-likelihoods of some rows, to {@code nll} [n]. With {@code gradient}, the logits become {@code scale ·
         * (softmax − onehot)}. Throws {@link IndexOutOfBoundsException} for a target not below V, if the backend can tell.
         */
        void nll(Tensor logits, Tensor targets, float scale, boolean gradient, Tensor nll);

        /** {@code loss = scale · sum nll}, of [N] to [1]. */
        void sum(Tensor nll, float scale, Tensor loss);

        /**
         * {@code dx = dloss · gathered}, both of activations, row n [N, C] to row {@code rows[n]} [T, C]; the other rows get
         * nothing, or zero.
         */
        void scatter(Tensor gathered, Tensor rows, Tensor dloss, Grad dx);

        /** {@code dhead = dloss · saved}, both [V, C]. */
        void scale(Tensor saved, Tensor dloss, Grad dhead);
    }

    /**
     * The loss of the rows that have a target.
     *
     * @param x [T, C]
     * @param head [V, C]; trainable if its tensor is a leaf
     * @param rows [N], I32: which rows of x; N may be 0
     * @param targets [N], I32: the token each of them should predict, from 0 to V − 1
     * @param scale one over the number of targets of the whole optimizer step, for a mean
     * @return [1], F32
     * @throws IndexOutOfBoundsException naming the position, if a row or a target does not exist
     */
    public static Tensor apply(Tape tape, Tensor x, DenseWeight head, Tensor rows, Tensor targets, float scale) {
        Shapes.activation(x, -1, head.in(), "LinearCrossEntropy", "x");
        Shapes.require(rows, DType.I32, Shape.of(rows.size()), "LinearCrossEntropy", "rows");
        Shapes.require(targets, DType.I32, rows.shape(), "LinearCrossEntropy", "targets");
        Tensor w = head.tensor();
        long n = rows.size();
        Tensor loss = tape.empty(DType.F32, 1);
        Tensor dgathered = tape.tracks(x) ? tape.empty(x.dtype(), n, head.in()) : null; // [N, C]
        Tensor dw = tape.tracks(w) ? tape.empty(DType.F32, head.out(), head.in()) : null; // [V, C]
        try (Tape.Scratch _ = tape.scratch()) {
            Tensor nll = tape.empty(DType.F32, n);
            if (dw != null && n == 0) {
                x.device().zero(dw);
            }
            long most = chunkRows(x.device().pieceBytes() / ((long) x.dtype().bytes() * head.out()));
            for (long from = 0; from < n; from += most) {
                long to = Math.min(n, from + most);
                Grad dpart = dgathered == null ? null : new Grad(dgathered.rows(from, to), false);
                Grad dhead = dw == null ? null : new Grad(dw, from > 0);
                chunk(tape, x, w, rows.rows(from, to), targets.rows(from, to), scale, nll.rows(from, to), dpart, dhead);
            }
            x.device().kernel(Kernel.class).sum(nll, scale, loss);
        }
        return tape.record(loss, List.of(x, w), new Saved(x, w, rows, dgathered, dw));
    }

    /** Rows of a chunk where so many fit: a few more than whole tiles would cost another row of tiles in each product. */
    static long chunkRows(long fitting) {
        return fitting < TILE_ROWS ? Math.max(CHUNK_ROWS, fitting) : fitting / TILE_ROWS * TILE_ROWS;
    }

    private static void chunk(
            Tape tape,
            Tensor x,
            Tensor w,
            Tensor rows,
            Tensor targets,
            float scale,
            Tensor nll,
            Grad dgathered,
            Grad dw) {
        Device device = x.device();
        Linear.Kernel linear = device.kernel(Linear.Kernel.class);
        boolean gradient = dgathered != null || dw != null;
        try (Tape.Scratch _ = tape.scratch()) {
            Tensor gathered = tape.empty(x.dtype(), rows.size(), x.cols()); // [n, C]
            Tensor logits = tape.empty(x.dtype(), rows.size(), w.rows()); // [n, V]
            device.kernel(Embedding.Kernel.class).forward(rows, x, gathered);
            linear.forward(gathered, w, logits);
            device.kernel(Kernel.class).nll(logits, targets, scale, gradient, nll);
            if (gradient) {
                linear.backward(gathered, w, logits, dgathered, dw);
            }
        }
    }

    /** The gradients for dloss = 1: dgathered [N, C], of the rows that have a target, and dw [V, C]; null if not tracked. */
    private record Saved(Tensor x, Tensor w, Tensor rows, Tensor dgathered, Tensor dw) implements Backward {
        @Override
        public void backward(Tensor dloss, Gradients gradients) {
            Kernel kernel = x.device().kernel(Kernel.class);
            Grad dx = gradients.wanted(x); // [T, C]
            if (dx != null) {
                kernel.scatter(dgathered, rows, dloss, dx);
            }
            Grad dhead = gradients.wanted(w); // [V, C]
            if (dhead != null) {
                kernel.scale(dw, dloss, dhead);
            }
        }
    }
}
