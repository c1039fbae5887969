package io.qlora.bench;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.cpu.Lanes;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.ops.testing.FmaPeak;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import io.qlora.trainer.profile.KernelWork;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntConsumer;
import jdk.incubator.vector.FloatVector;

/** What the machine can do at most: multiply in registers, and read and write memory that no cache holds. */
final class Bounds {

    private static final int[] WIDTHS = {512, 256, 128};

    private static final int FMA_TASKS = 16; // a thread's: of some 50 µs, so that none waits long for another
    private static final int FMA_STEPS = 32_000;

    private static final int FLOATS = 32 << 20; // in each of the arrays: 128 MiB, more than a cache has
    private static final int TASK = 1 << 18; // floats

    private Bounds() {}

    /** All of them; of vectors no wider than these. */
    static List<Subject> subjects() {
        List<Subject> subjects = new ArrayList<>();
        for (int bits : WIDTHS) {
            if (bits <= FloatVector.SPECIES_PREFERRED.vectorBitSize()) {
                subjects.add(new Subject("bound: FMA peak, " + bits + " bits", device -> fma(device, bits)));
            }
        }
        subjects.add(new Subject("bound: memory, read", device -> stream(device, 1, Bounds::read)));
        subjects.add(new Subject("bound: memory, triad", device -> stream(device, 3, Bounds::triad)));
        subjects.add(new Subject("bound: memory, update", device -> stream(device, 3, Bounds::update)));
        return subjects;
    }

    private static Subject.Prepared fma(CpuDevice device, int bits) {
        System.setProperty(FmaPeak.BITS, Integer.toString(bits)); // before the class is initialised
        int tasks = FMA_TASKS * device.workers().threads();
        float[] used = new float[tasks];
        return new Subject.Prepared() {
            @Override
            public void run() {
                device.workers().run(tasks, task -> used[task] = FmaPeak.run(FMA_STEPS));
            }

            @Override
            public KernelWork work() {
                return new KernelWork(tasks * FmaPeak.flops(FMA_STEPS), 0);
            }
        };
    }

    /** What is done to a task's part of the three arrays. */
    @FunctionalInterface
    private interface Stream {
        void run(MemorySegment a, MemorySegment b, MemorySegment c, long from, long to);
    }

    private static Subject.Prepared stream(CpuDevice device, int passes, Stream stream) {
        ModelMemory memory = new ModelMemory(device);
        Tensor a = memory.zeros(DType.F32, FLOATS);
        MemorySegment first = a.segment();
        MemorySegment second =
                passes == 1 ? first : memory.zeros(DType.F32, FLOATS).segment();
        MemorySegment third =
                passes == 1 ? first : memory.zeros(DType.F32, FLOATS).segment();
        IntConsumer task = i -> stream.run(first, second, third, 4L * i * TASK, 4L * (i + 1) * TASK);
        return new Subject.Prepared() {
            @Override
            public void run() {
                device.workers().run(FLOATS / TASK, task::accept);
            }

            @Override
            public KernelWork work() {
                return new KernelWork(0, 4.0 * passes * FLOATS);
            }

            @Override
            public void close() {
                memory.close();
            }
        };
    }

    /** A sum, left at the end of what was read. */
    private static void read(MemorySegment a, MemorySegment b, MemorySegment c, long from, long to) {
        FloatVector sum0 = FloatVector.zero(Lanes.FLOATS);
        FloatVector sum1 = sum0;
        FloatVector sum2 = sum0;
        FloatVector sum3 = sum0;
        int bytes = 4 * Lanes.WIDTH;
        for (long i = from; i < to; i += 4L * bytes) {
            sum0 = sum0.add(FloatVector.fromMemorySegment(Lanes.FLOATS, a, i, Lanes.ORDER));
            sum1 = sum1.add(FloatVector.fromMemorySegment(Lanes.FLOATS, a, i + bytes, Lanes.ORDER));
            sum2 = sum2.add(FloatVector.fromMemorySegment(Lanes.FLOATS, a, i + 2L * bytes, Lanes.ORDER));
            sum3 = sum3.add(FloatVector.fromMemorySegment(Lanes.FLOATS, a, i + 3L * bytes, Lanes.ORDER));
        }
        sum0.add(sum1).add(sum2.add(sum3)).intoMemorySegment(a, to - bytes, Lanes.ORDER);
    }

    /** b = b + 3·c, which is read and written: unlike a triad's, its result is in the cache when it is written. */
    private static void update(MemorySegment a, MemorySegment b, MemorySegment c, long from, long to) {
        triad(b, b, c, from, to);
    }

    /** a = b + 3·c. */
    private static void triad(MemorySegment a, MemorySegment b, MemorySegment c, long from, long to) {
        int bytes = 4 * Lanes.WIDTH;
        FloatVector three = FloatVector.broadcast(Lanes.FLOATS, 3f);
        for (long i = from; i < to; i += bytes) {
            FloatVector x = FloatVector.fromMemorySegment(Lanes.FLOATS, b, i, Lanes.ORDER);
            FloatVector y = FloatVector.fromMemorySegment(Lanes.FLOATS, c, i, Lanes.ORDER);
            three.fma(y, x).intoMemorySegment(a, i, Lanes.ORDER);
        }
    }
}
