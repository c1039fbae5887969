package io.qlora.engine.cpu;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Embedding;
import io.qlora.engine.scalar.Floats;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** {@link Embedding}: rows over all cores; dtable over columns, so that its sums have one order. */
final class CpuEmbedding implements Embedding.Kernel {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final int ROWS = 16; // a task

    private final Workers workers;

    CpuEmbedding(Workers workers) {
        this.workers = workers;
    }

    @Override
    public void forward(Tensor ids, Tensor table, Tensor y) {
        int rows = Math.toIntExact(ids.size());
        int cols = table.cols();
        DType dtype = table.dtype();
        MemorySegment source = table.segment();
        MemorySegment target = y.segment();
        workers.run(Math.ceilDiv(rows, ROWS), task -> {
            float[] row = PanelScratch.ofThread().floats(cols);
            for (int t = task * ROWS; t < Math.min(rows, (task + 1) * ROWS); t++) {
                long id = Floats.index(ids, t, table.rows());
                Widen.copy(dtype, source, id * cols, cols, row, 0);
                MemorySegment.copy(row, 0, target, FLOAT, 4L * t * cols, cols);
            }
        });
    }

    @Override
    public void backward(Tensor ids, Tensor dy, Grad dtable) {
        if (!dtable.accumulate()) {
            dy.device().zero(dtable.tensor());
        }
        RowScatter.add(workers, dy, 1, ids, dtable.tensor());
    }
}
