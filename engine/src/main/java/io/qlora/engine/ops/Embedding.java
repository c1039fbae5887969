package io.qlora.engine.ops;

import io.qlora.engine.autograd.Backward;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.autograd.Gradients;
import io.qlora.engine.autograd.Tape;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Shapes;
import io.qlora.engine.tensor.Tensor;
import java.util.List;

/**
 * Rows of a table.
 *
 * <pre>
 *   y[t]      = table[ids[t]]
 *   dtable[v] = sum of dy[t] over all t with ids[t] = v, in the order of t          only when the table is trainable
 * </pre>
 *
 * Saves nothing but the ids.
 */
public final class Embedding {

    private Embedding() {}

    /** What a backend provides. Shapes: ids [T], I32; table [V, C], F32, F16 or BF16; dtable as table, F32; y, dy [T, C], of
     * activations. */
    public interface Kernel {

        /** Throws {@link IndexOutOfBoundsException} when an id is not in the table, if the backend can tell. */
        void forward(Tensor ids, Tensor table, Tensor y);

        void backward(Tensor ids, Tensor dy, Grad dtable);
    }

    /**
     * Looks up each id.
     *
     * @param ids [T], I32, each from 0 to V − 1
     * @param table [V, C]; trainable if its tensor is a leaf
     * @return [T, C], of the type in which the device keeps activations
     * @throws IndexOutOfBoundsException naming the position, if an id is not in the table
     */
    public static Tensor apply(Tape tape, Tensor ids, DenseWeight table) {
        Shapes.require(ids, DType.I32, Shape.of(ids.size()), "Embedding", "ids");
        Tensor y = tape.empty(ids.device().activations(), ids.size(), table.in()); // [T, C]
        ids.device().kernel(Kernel.class).forward(ids, table.tensor(), y);
        return tape.record(y, List.of(table.tensor()), new Saved(ids, table.tensor()));
    }

    private record Saved(Tensor ids, Tensor table) implements Backward {
        @Override
        public void backward(Tensor dy, Gradients gradients) {
            Grad dtable = gradients.wanted(table); // [V, C]
            ids.device().kernel(Kernel.class).backward(ids, dy, dtable);
        }
    }
}
