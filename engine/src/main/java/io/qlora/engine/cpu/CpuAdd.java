package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.ORDER;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import io.qlora.engine.ops.Add;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jdk.incubator.vector.FloatVector;

/** {@link Add} in vectors, equal pieces over all cores. */
final class CpuAdd implements Add.Kernel {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;
    private static final int ELEMENTS = 16 << 10; // a task: some microseconds of memory traffic

    private final Workers workers;

    CpuAdd(Workers workers) {
        this.workers = workers;
    }

    @Override
    public void forward(Tensor x, Tensor y, Tensor z) {
        long size = z.size();
        MemorySegment xs = x.segment();
        MemorySegment ys = y.segment();
        MemorySegment zs = z.segment();
        workers.run(Math.toIntExact((size + ELEMENTS - 1) / ELEMENTS), task -> {
            long from = (long) task * ELEMENTS;
            add(xs, ys, zs, 4 * from, 4 * Math.min(size, from + ELEMENTS));
        });
    }

    /** Bytes {@code from} to {@code to}. */
    private static void add(MemorySegment x, MemorySegment y, MemorySegment z, long from, long to) {
        long o = from;
        for (; o <= to - 4L * WIDTH; o += 4L * WIDTH) {
            load(x, o).add(load(y, o)).intoMemorySegment(z, o, ORDER);
        }
        for (; o < to; o += 4) {
            z.set(FLOAT, o, x.get(FLOAT, o) + y.get(FLOAT, o));
        }
    }

    private static FloatVector load(MemorySegment segment, long offset) {
        return FloatVector.fromMemorySegment(FLOATS, segment, offset, ORDER);
    }
}
