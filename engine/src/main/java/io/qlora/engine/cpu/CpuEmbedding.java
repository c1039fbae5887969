package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.ORDER;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Embedding;
import io.qlora.engine.scalar.Floats;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** {@link Embedding} in vectors: rows over all cores; dtable over columns, so that its sums have one order. */
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
            for (int t = task * ROWS; t < Math.min(rows, (task + 1) * ROWS); t++) {
                long row = Floats.index(ids, t, table.rows());
                copy(dtype, source, row * cols, target, 4L * t * cols, cols);
            }
        });
    }

    private static void copy(DType dtype, MemorySegment x, long index, MemorySegment y, long offset, int count) {
        int c = 0;
        int vectors = count / WIDTH * WIDTH;
        switch (dtype) {
            case F32 -> {
                MemorySegment.copy(x, 4 * index, y, offset, 4L * count);
                return;
            }
            case F16 -> {
                for (; c < vectors; c += WIDTH) {
                    Widen.f16(x, 2 * (index + c)).intoMemorySegment(y, offset + 4L * c, ORDER);
                }
            }
            case BF16 -> {
                for (; c < vectors; c += WIDTH) {
                    Widen.bf16(x, 2 * (index + c)).intoMemorySegment(y, offset + 4L * c, ORDER);
                }
            }
            case I32, U8 -> throw new IllegalArgumentException(dtype + " is not floating-point");
        }
        for (; c < count; c++) {
            y.set(FLOAT, offset + 4L * c, Widen.get(dtype, x, index + c));
        }
    }

    @Override
    public void backward(Tensor ids, Tensor dy, Grad dtable) {
        if (!dtable.accumulate()) {
            dy.device().zero(dtable.tensor());
        }
        RowScatter.add(workers, dy, 1, ids, dtable.tensor());
    }
}
