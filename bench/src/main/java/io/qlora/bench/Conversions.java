package io.qlora.bench;

import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.cpu.Widen;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.nf4.Nf4;
import io.qlora.trainer.profile.KernelWork;
import java.util.ArrayList;
import java.util.List;

/** Numbers from one format to another: widening, quantising, decoding. */
final class Conversions {

    private static final int ROWS = 8192;
    private static final int COLS = 2048;
    private static final int PIECE = 1 << 14; // elements widened at a time: they stay in the second-level cache

    private Conversions() {}

    /** All of them. */
    static List<Subject> subjects() {
        List<Subject> subjects = new ArrayList<>();
        for (DType dtype : new DType[] {DType.BF16, DType.F16}) {
            subjects.add(new Subject("widen " + dtype + ", 8192 x 2048", device -> widen(dtype, device)));
        }
        for (DType dtype : new DType[] {DType.F32, DType.BF16}) {
            String name = "NF4 quantise " + dtype + ", double, 8192 x 2048";
            subjects.add(new Subject(name, device -> quantize(dtype, device)));
        }
        subjects.add(new Subject("NF4 dequantise, 8192 x 2048", Conversions::dequantize));
        return subjects;
    }

    /** To float32 in the cache, as every reader of 16-bit weights does; what is written there is not counted. */
    private static Subject.Prepared widen(DType dtype, CpuDevice device) {
        ModelMemory memory = new ModelMemory(device);
        Tensor x = Numbers.fill(memory.empty(dtype, ROWS, COLS));
        ThreadLocal<float[]> out = ThreadLocal.withInitial(() -> new float[PIECE]);
        int pieces = ROWS * COLS / PIECE;
        return prepared(
                memory,
                x.byteSize(),
                () -> device.workers().run(pieces, piece -> {
                    Widen.copy(dtype, x.segment(), (long) piece * PIECE, PIECE, out.get(), 0);
                }));
    }

    private static Subject.Prepared quantize(DType dtype, CpuDevice device) {
        ModelMemory memory = new ModelMemory(device);
        Tensor source = Numbers.fill(memory.empty(dtype, ROWS, COLS));
        long bytes =
                source.byteSize() + Nf4.quantize(source, true, memory, device).byteSize();
        return prepared(memory, bytes, () -> {
            try (ModelMemory target = new ModelMemory(device)) {
                Nf4.quantize(source, true, target, device);
            }
        });
    }

    private static Subject.Prepared dequantize(CpuDevice device) {
        ModelMemory memory = new ModelMemory(device);
        Tensor values = Numbers.fill(memory.empty(DType.F32, ROWS, COLS));
        Nf4Weight weight = Nf4.quantize(values, true, memory, device);
        return prepared(memory, (double) weight.byteSize() + values.byteSize(), () -> Nf4.dequantize(weight, values));
    }

    private static Subject.Prepared prepared(ModelMemory memory, double bytes, Runnable run) {
        return new Subject.Prepared() {
            @Override
            public void run() {
                run.run();
            }

            @Override
            public KernelWork work() {
                return new KernelWork(0, bytes);
            }

            @Override
            public void close() {
                memory.close();
            }
        };
    }
}
