package io.qlora.engine.ops;

import io.qlora.engine.autograd.Backward;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.autograd.Gradients;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;
import java.util.List;

/**
 * Rotary position embedding (Su et al. 2021, arXiv 2104.09864) of queries and keys, in place, in Hugging Face's layout: the
 * pairs that are rotated are element j of a head's first half, x1, and of its second, x2.
 *
 * <pre>
 *   y1 = x1 · cos − x2 · sin         dx1 = dy1 · cos + dy2 · sin
 *   y2 = x2 · cos + x1 · sin         dx2 = dy2 · cos − dy1 · sin        cos, sin of row position[t], column j &lt; D/2
 * </pre>
 *
 * Saves nothing but the table and the positions, which are there anyway.
 */
public final class Rope {

    private Rope() {}

    /** What a backend provides. Shapes: q, dq [T, H·D]; k, dk [T, K·D]; positions I32 [T]. */
    public interface Kernel {

        /** Rotates {@code q} and {@code k} where they are. */
        void forward(Tensor q, Tensor k, Table table, Tensor positions);

        /** Rotates back. Both of a pair are null when not wanted. */
        void backward(Tensor dyq, Tensor dyk, Table table, Tensor positions, Grad dq, Grad dk);
    }

    /**
     * The angles' cosines and sines, the attention scaling multiplied in.
     *
     * @param cos F32 [maxPositions, D/2]
     * @param sin F32 [maxPositions, D/2]
     */
    public record Table(Tensor cos, Tensor sin) {

        private static final int CHUNK = 1024; // rows on the heap at a time

        public Table {
            Shapes.matrix(cos, DType.F32, -1, -1, "Rope", "cos");
            Shapes.require(sin, DType.F32, cos.shape(), "Rope", "sin");
        }

        /**
         * The table as transformers computes it: the angle is the float32 product of position and frequency, its cosine and
         * sine are rounded to float32, and so is their product with the scaling.
         *
         * @param inverseFrequencies [D/2], radians per position, whatever scaling the model asks for applied
         * @param attentionScaling 1 but for some scaled kinds
         * @param maxPositions the number of positions, from 0
         */
        public static Table of(
                ModelMemory memory, float[] inverseFrequencies, float attentionScaling, int maxPositions) {
            int half = inverseFrequencies.length;
            Tensor cos = memory.empty(DType.F32, maxPositions, half);
            Tensor sin = memory.empty(DType.F32, maxPositions, half);
            for (int from = 0; from < maxPositions; from += CHUNK) {
                int to = Math.min(maxPositions, from + CHUNK);
                float[] cosines = new float[(to - from) * half];
                float[] sines = new float[(to - from) * half];
                for (int i = 0; i < cosines.length; i++) {
                    float angle = (float) (from + i / half) * inverseFrequencies[i % half];
                    cosines[i] = (float) StrictMath.cos(angle) * attentionScaling;
                    sines[i] = (float) StrictMath.sin(angle) * attentionScaling;
                }
                cos.rows(from, to).set(cosines);
                sin.rows(from, to).set(sines);
            }
            return new Table(cos, sin);
        }

        /** How many positions there are. */
        public int maxPositions() {
            return cos.rows();
        }

        /** D, the head size. */
        public int headSize() {
            return 2 * cos.cols();
        }
    }

    /** Queries [T, H·D] and keys [T, K·D] after rotation, in the memory they were in. */
    public record Rotated(Tensor q, Tensor k) {}

    /**
     * Rotates queries and keys by their positions, each written over itself: the tensors given must not be used afterwards.
     *
     * @param q [T, H·D]; consumed
     * @param k [T, K·D], of the type of {@code q}; consumed
     * @throws IllegalArgumentException if a head is not of the table's size, or a document longer than the table
     */
    public static Rotated apply(Tape tape, Tensor q, Tensor k, Table table, Sequences sequences) {
        Shapes.activation(q, sequences.tokens(), -1, "Rope", "q");
        Shapes.matrix(k, q.dtype(), sequences.tokens(), -1, "Rope", "k");
        int head = table.headSize();
        Shapes.require(q.cols() % head == 0, "Rope", "q", q, "[T, H·D] with D = " + head);
        Shapes.require(k.cols() % head == 0, "Rope", "k", k, "[T, K·D] with D = " + head);
        if (sequences.longest() > table.maxPositions()) {
            throw new IllegalArgumentException("Rope: a document has " + sequences.longest()
                    + " positions, the table was made for " + table.maxPositions()
                    + ": cut the document, or load the model for longer ones");
        }
        Tensor rotatedQ = q.alias();
        Tensor rotatedK = k.alias();
        q.device().kernel(Kernel.class).forward(q, k, table, sequences.positions());
        tape.record(List.of(rotatedQ, rotatedK), List.of(q, k), new Saved(q, k, table, sequences.positions()));
        return new Rotated(rotatedQ, rotatedK);
    }

    /** {@code q} and {@code k} only by name: their elements are gone. */
    private record Saved(Tensor q, Tensor k, Table table, Tensor positions) implements Backward.Joint {
        @Override
        public void backward(List<Tensor> dys, Gradients gradients) {
            Grad dq = dys.getFirst() == null ? null : gradients.wanted(q); // [T, H·D]
            Grad dk = dys.getLast() == null ? null : gradients.wanted(k); // [T, K·D]
            Kernel kernel = q.device().kernel(Kernel.class);
            kernel.backward(dys.getFirst(), dys.getLast(), table, positions, dq, dk);
        }
    }
}
