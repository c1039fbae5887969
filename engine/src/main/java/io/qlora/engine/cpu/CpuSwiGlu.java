package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.ORDER;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.SwiGlu;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;

/**
 * {@link SwiGlu} in vectors. The sigmoid is computed from e^−|gate|, which cannot overflow; what is left over at the end is a
 * masked vector, so that an element's result does not depend on its place.
 */
final class CpuSwiGlu implements SwiGlu.Kernel {

    private static final int ELEMENTS = 8192; // a task; a multiple of every vector width

    private final Workers workers;

    CpuSwiGlu(Workers workers) {
        this.workers = workers;
    }

    @Override
    public void forward(Tensor gate, Tensor up, Tensor y) {
        long size = y.size();
        MemorySegment gates = gate.segment();
        MemorySegment ups = up.segment();
        MemorySegment ys = y.segment();
        workers.run(tasks(size), task -> {
            long from = (long) task * ELEMENTS;
            forward(gates, ups, ys, from, count(size, from));
        });
    }

    /** Two jobs, for the compiler inlines only so much: a task that computed both would fall out of its vectors. */
    @Override
    public void backward(Tensor gate, Tensor up, Tensor dy, Grad dgate, Grad dup) {
        long size = dy.size();
        MemorySegment gates = gate.segment();
        MemorySegment ups = up.segment();
        MemorySegment dys = dy.segment();
        if (dgate != null) {
            MemorySegment dgates = dgate.tensor().segment();
            workers.run(tasks(size), task -> {
                long from = (long) task * ELEMENTS;
                gateGradient(gates, ups, dys, dgates, dgate.accumulate(), from, count(size, from));
            });
        }
        if (dup != null) {
            MemorySegment dups = dup.tensor().segment();
            workers.run(tasks(size), task -> {
                long from = (long) task * ELEMENTS;
                upGradient(gates, dys, dups, dup.accumulate(), from, count(size, from));
            });
        }
    }

    private static int tasks(long size) {
        return Math.toIntExact((size + ELEMENTS - 1) / ELEMENTS);
    }

    private static int count(long size, long from) {
        return (int) Math.min(ELEMENTS, size - from);
    }

    // Counted by an int: a loop over longs is two to the compiler, and what it assumes of them fails again and again.

    private static void forward(MemorySegment gate, MemorySegment up, MemorySegment y, long from, int count) {
        int i = 0;
        for (; i <= count - WIDTH; i += WIDTH) {
            long o = 4 * (from + i);
            silu(load(gate, o)).mul(load(up, o)).intoMemorySegment(y, o, ORDER);
        }
        if (i < count) {
            long o = 4 * (from + i);
            VectorMask<Float> rest = FLOATS.indexInRange(i, count);
            silu(load(gate, o, rest)).mul(load(up, o, rest)).intoMemorySegment(y, o, ORDER, rest);
        }
    }

    private static void gateGradient(
            MemorySegment gate,
            MemorySegment up,
            MemorySegment dy,
            MemorySegment dgate,
            boolean add,
            long from,
            int count) {
        int i = 0;
        for (; i <= count - WIDTH; i += WIDTH) {
            long o = 4 * (from + i);
            FloatVector d = slope(load(gate, o)).mul(load(dy, o).mul(load(up, o)));
            (add ? d.add(load(dgate, o)) : d).intoMemorySegment(dgate, o, ORDER);
        }
        if (i < count) {
            long o = 4 * (from + i);
            VectorMask<Float> rest = FLOATS.indexInRange(i, count);
            FloatVector d = slope(load(gate, o, rest)).mul(load(dy, o, rest).mul(load(up, o, rest)));
            (add ? d.add(load(dgate, o, rest)) : d).intoMemorySegment(dgate, o, ORDER, rest);
        }
    }

    private static void upGradient(
            MemorySegment gate, MemorySegment dy, MemorySegment dup, boolean add, long from, int count) {
        int i = 0;
        for (; i <= count - WIDTH; i += WIDTH) {
            long o = 4 * (from + i);
            FloatVector d = silu(load(gate, o)).mul(load(dy, o));
            (add ? d.add(load(dup, o)) : d).intoMemorySegment(dup, o, ORDER);
        }
        if (i < count) {
            long o = 4 * (from + i);
            VectorMask<Float> rest = FLOATS.indexInRange(i, count);
            FloatVector d = silu(load(gate, o, rest)).mul(load(dy, o, rest));
            (add ? d.add(load(dup, o, rest)) : d).intoMemorySegment(dup, o, ORDER, rest);
        }
    }

    /** g · s(g). With e = e^−|g|: s(|g|) = 1 / (1 + e), s(−|g|) = e / (1 + e). */
    private static FloatVector silu(FloatVector g) {
        FloatVector e = Lanes.exp(g.abs().neg());
        FloatVector numerator = e.blend(1f, g.compare(VectorOperators.GE, 0f));
        return g.mul(numerator.div(e.add(1f)));
    }

    /** silu'(g) = s · (1 + g · (1 − s)), where 1 − s = s(−g) is as exact as s. */
    private static FloatVector slope(FloatVector g) {
        FloatVector e = Lanes.exp(g.abs().neg());
        FloatVector larger = FloatVector.broadcast(FLOATS, 1f).div(e.add(1f)); // s(|g|)
        FloatVector smaller = e.mul(larger); // s(−|g|)
        VectorMask<Float> positive = g.compare(VectorOperators.GE, 0f);
        FloatVector s = smaller.blend(larger, positive);
        FloatVector rest = larger.blend(smaller, positive);
        return s.mul(g.mul(rest).add(1f));
    }

    private static FloatVector load(MemorySegment segment, long offset) {
        return FloatVector.fromMemorySegment(FLOATS, segment, offset, ORDER);
    }

    private static FloatVector load(MemorySegment segment, long offset, VectorMask<Float> lanes) {
        return FloatVector.fromMemorySegment(FLOATS, segment, offset, ORDER, lanes);
    }
}
