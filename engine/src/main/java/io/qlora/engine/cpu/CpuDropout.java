package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.INTS;
import static io.qlora.engine.cpu.Lanes.ORDER;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Dropout;
import io.qlora.engine.ops.Philox;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/** {@link Dropout} in vectors, rows over all cores: a row's random words first, then the row. */
final class CpuDropout implements Dropout.Kernel {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED;
    private static final int ROWS = 8; // a task
    private static final ThreadLocal<PanelScratch> SCRATCH = ThreadLocal.withInitial(PanelScratch::new);

    private final Workers workers;

    CpuDropout(Workers workers) {
        this.workers = workers;
    }

    @Override
    public void forward(Tensor x, Dropout.Mask mask, Tensor documents, Tensor positions, Tensor y) {
        apply(x, mask, documents, positions, y, false);
    }

    @Override
    public void backward(Tensor dy, Dropout.Mask mask, Tensor documents, Tensor positions, Grad dx) {
        apply(dy, mask, documents, positions, dx.tensor(), dx.accumulate());
    }

    private void apply(Tensor x, Dropout.Mask mask, Tensor documents, Tensor positions, Tensor y, boolean add) {
        int rows = x.rows();
        int cols = x.cols();
        int room = (cols + CpuPhilox.WORDS - 1) / CpuPhilox.WORDS * CpuPhilox.WORDS;
        Philox.Key key = mask.key();
        int threshold = mask.threshold();
        float scale = mask.scale();
        workers.run((rows + ROWS - 1) / ROWS, task -> {
            int[] words = SCRATCH.get().ints(room);
            for (int t = task * ROWS; t < Math.min(rows, (task + 1) * ROWS); t++) {
                int position = positions.segment().getAtIndex(INT, t);
                int document = documents.segment().getAtIndex(INT, t);
                CpuPhilox.fill(position, document, mask.site(), key, words, cols);
                row(x.segment(), 4L * t * cols, words, threshold, scale, y.segment(), add, cols);
            }
        });
    }

    /** y[c] (+)= words[c] ≥ threshold ? x[c] · scale : 0. */
    private static void row(
            MemorySegment x,
            long row,
            int[] words,
            int threshold,
            float scale,
            MemorySegment y,
            boolean add,
            int cols) {
        FloatVector zero = FloatVector.zero(FLOATS);
        IntVector thresholds = IntVector.broadcast(INTS, threshold);
        int c = 0;
        for (; c <= cols - WIDTH; c += WIDTH) {
            long o = row + 4L * c;
            VectorMask<Float> stays = IntVector.fromArray(INTS, words, c)
                    .compare(VectorOperators.UGE, thresholds)
                    .cast(FLOATS);
            FloatVector kept = zero.blend(load(x, o).mul(scale), stays);
            (add ? kept.add(load(y, o)) : kept).intoMemorySegment(y, o, ORDER);
        }
        for (; c < cols; c++) {
            long o = row + 4L * c;
            boolean stays = Integer.compareUnsigned(words[c], threshold) >= 0;
            float kept = stays ? x.get(FLOAT, o) * scale : 0;
            y.set(FLOAT, o, add ? kept + y.get(FLOAT, o) : kept);
        }
    }

    private static FloatVector load(MemorySegment segment, long offset) {
        return FloatVector.fromMemorySegment(FLOATS, segment, offset, ORDER);
    }
}
