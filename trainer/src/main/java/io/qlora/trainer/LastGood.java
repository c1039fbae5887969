package io.qlora.trainer;

import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/**
 * The parameters as they were before the last update. Whether an update was good shows only in the loss that comes after it:
 * until then those before it, of which it is known, are kept.
 */
final class LastGood {

    private final List<Tensor> values;
    private final List<Tensor> copies = new ArrayList<>();
    private boolean kept;

    /**
     * Keeps nothing yet.
     *
     * @param memory for the copies
     */
    LastGood(Parameters parameters, ModelMemory memory) {
        this.values = parameters.values();
        for (Tensor value : values) {
            copies.add(memory.empty(DType.F32, value.shape().dims()));
        }
    }

    /** Keeps the parameters as they are. */
    void keep() {
        for (int i = 0; i < copies.size(); i++) {
            values.get(i).device().copy(values.get(i), copies.get(i));
        }
        kept = true;
    }

    /** Puts the parameters back to what was kept; false if nothing was, or it has been put back already. */
    boolean restore() {
        if (!kept) {
            return false;
        }
        for (int i = 0; i < copies.size(); i++) {
            values.get(i).device().copy(copies.get(i), values.get(i));
        }
        kept = false;
        return true;
    }
}
