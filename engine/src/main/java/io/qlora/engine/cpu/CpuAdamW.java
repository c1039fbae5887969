package io.qlora.engine.cpu;

import static io.qlora.engine.cpu.Lanes.FLOATS;
import static io.qlora.engine.cpu.Lanes.ORDER;
import static io.qlora.engine.cpu.Lanes.WIDTH;

import io.qlora.engine.optim.AdamW;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import jdk.incubator.vector.FloatVector;

/** {@link AdamW} in vectors, all parameters in one job. Every operation is rounded where torch's CPU kernels round it. */
final class CpuAdamW implements AdamW.Kernel {

    private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

    private final Workers workers;

    CpuAdamW(Workers workers) {
        this.workers = workers;
    }

    /** A slot's memory. */
    private record Segments(MemorySegment p, MemorySegment g, MemorySegment m, MemorySegment v) {
        static Segments of(AdamW.Slot slot) {
            return new Segments(
                    slot.parameter().value().segment(),
                    slot.parameter().gradient().segment(),
                    slot.mean().segment(),
                    slot.square().segment());
        }
    }

    /** A slot's factors. */
    private record Factors(
            float gradientScale,
            float keep,
            float meanWeight,
            float squareDecay,
            float squareWeight,
            float squareCorrection,
            float epsilon,
            float size) {
        static Factors of(AdamW.Slot slot, AdamW.Step step) {
            return new Factors(
                    step.gradientScale(),
                    step.keep(slot),
                    step.meanWeight(),
                    step.squareDecay(),
                    step.squareWeight(),
                    step.squareCorrection(),
                    step.epsilon(),
                    step.size(slot));
        }
    }

    @Override
    public void step(List<AdamW.Slot> slots, AdamW.Step step) {
        Pieces pieces =
                Pieces.of(slots.stream().map(slot -> slot.parameter().value()).toList());
        workers.run(pieces.count(), piece -> {
            int index = pieces.tensor(piece);
            AdamW.Slot slot = slots.get(index);
            long from = pieces.from(piece, index);
            long to = pieces.to(piece, index, slot.parameter().value().size());
            Segments s = Segments.of(slot);
            Factors f = Factors.of(slot, step);
            moments(s.g, s.m, s.v, f, 4 * from, 4 * to);
            move(s.p, s.m, s.v, f, 4 * from, 4 * to);
        });
    }

    /** m and v of bytes {@code from} to {@code to}. */
    private static void moments(MemorySegment g, MemorySegment m, MemorySegment v, Factors f, long from, long to) {
        // torch's lerp starts at the nearer end: m + w·(g − m) for w below a half, else g + (w − 1)·(g − m)
        boolean nearMean = f.meanWeight < 0.5f;
        float coefficient = nearMean ? f.meanWeight : f.meanWeight - 1;
        FloatVector coefficients = FloatVector.broadcast(FLOATS, coefficient);
        long o = from;
        for (; o <= to - 4L * WIDTH; o += 4L * WIDTH) {
            FloatVector gradient = load(g, o).mul(f.gradientScale);
            FloatVector mean = load(m, o);
            FloatVector base = nearMean ? mean : gradient;
            gradient.sub(mean).fma(coefficients, base).intoMemorySegment(m, o, ORDER);
            FloatVector square = gradient.mul(f.squareWeight).mul(gradient);
            load(v, o).mul(f.squareDecay).add(square).intoMemorySegment(v, o, ORDER);
        }
        for (; o < to; o += 4) {
            float gradient = g.get(FLOAT, o) * f.gradientScale;
            float mean = m.get(FLOAT, o);
            m.set(FLOAT, o, Math.fma(gradient - mean, coefficient, nearMean ? mean : gradient));
            v.set(FLOAT, o, v.get(FLOAT, o) * f.squareDecay + f.squareWeight * gradient * gradient);
        }
    }

    /** p of bytes {@code from} to {@code to}, m and v being the new ones. */
    private static void move(MemorySegment p, MemorySegment m, MemorySegment v, Factors f, long from, long to) {
        long o = from;
        for (; o <= to - 4L * WIDTH; o += 4L * WIDTH) {
            FloatVector denominator = load(v, o).sqrt().div(f.squareCorrection).add(f.epsilon);
            FloatVector change = load(m, o).mul(-f.size).div(denominator);
            load(p, o).mul(f.keep).add(change).intoMemorySegment(p, o, ORDER);
        }
        for (; o < to; o += 4) {
            float denominator = (float) Math.sqrt(v.get(FLOAT, o)) / f.squareCorrection + f.epsilon;
            p.set(FLOAT, o, p.get(FLOAT, o) * f.keep + -f.size * m.get(FLOAT, o) / denominator);
        }
    }

    private static FloatVector load(MemorySegment segment, long offset) {
        return FloatVector.fromMemorySegment(FLOATS, segment, offset, ORDER);
    }
}
