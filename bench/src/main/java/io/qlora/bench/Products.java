package io.qlora.bench;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.ops.Linear;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.nf4.Nf4;
import io.qlora.nf4.Nf4Linear;
import io.qlora.trainer.profile.KernelWork;
import java.util.ArrayList;
import java.util.List;

/** The products of frozen weights, forward and back to the input, of one row to thousands. */
final class Products {

    /** How the weight is kept, and who multiplies. */
    enum Kind {
        F32("f32"),
        BF16("bf16"),
        NF4("nf4"),
        OPENBLAS("OpenBLAS f32");

        private final String label;

        Kind(String label) {
            this.label = label;
        }

        private DType dtype() {
            return this == BF16 ? DType.BF16 : DType.F32;
        }
    }

    /** A layer's input and output. */
    private record Layer(int in, int out) {}

    private static final int[] ROWS = {1, 16, 64, 256, 512, 2048};

    /** Shown in full: the feed-forward layer of the 134m shape. */
    private static final Layer WHOLE = new Layer(768, 2048);

    /** The other linears of the shapes 134m and 1b, at the rows of a step, and one whose input is no multiple of 64. */
    private static final List<Layer> OTHERS = List.of(
            new Layer(768, 768),
            new Layer(2048, 768),
            new Layer(2048, 2048),
            new Layer(2048, 256),
            new Layer(2048, 5632),
            new Layer(5632, 2048),
            new Layer(740, 2048));

    private static final List<Layer> HEADS = List.of(new Layer(768, 32_000), new Layer(2048, 32_000));

    /** A weight that no cache holds, not even in four bits: 64 MiB. */
    private static final Layer HUGE = new Layer(8192, 16_384);

    private Products() {}

    /** A product's name. */
    static String name(Kind kind, boolean forward, int rows, int in, int out) {
        return kind.label + (forward ? " forward" : " backward") + ", M=" + rows + ", " + in + " -> " + out;
    }

    /** All of them, each next to what it is held against. */
    static List<Subject> subjects() {
        List<Subject> subjects = new ArrayList<>();
        for (int rows : ROWS) {
            add(subjects, rows, WHOLE, true, Kind.OPENBLAS, Kind.F32, Kind.NF4);
        }
        for (Layer layer : OTHERS) {
            for (int rows : ROWS) {
                add(subjects, rows, layer, rows == 256, Kind.OPENBLAS, Kind.F32, Kind.NF4);
            }
        }
        for (Layer head : HEADS) {
            add(subjects, 256, head, head.in == WHOLE.in, Kind.BF16);
        }
        add(subjects, 1, HUGE, true, Kind.OPENBLAS, Kind.F32, Kind.BF16, Kind.NF4);
        return subjects;
    }

    private static void add(List<Subject> subjects, int rows, Layer layer, boolean brief, Kind... kinds) {
        for (boolean forward : rows == 1 ? new boolean[] {true} : new boolean[] {true, false}) {
            for (Kind kind : kinds) {
                Kind peer = switch (kind) {
                    case F32 -> Kind.OPENBLAS;
                    case NF4 -> Kind.F32;
                    case BF16 -> rows == 1 ? Kind.F32 : null;
                    case OPENBLAS -> null;
                };
                subjects.add(new Subject(
                        name(kind, forward, rows, layer.in, layer.out),
                        peer == null ? null : name(peer, forward, rows, layer.in, layer.out),
                        brief && (forward || layer == WHOLE || kind == Kind.BF16),
                        device -> new Product(kind, forward, rows, layer.in, layer.out, device)));
            }
        }
    }

    /** Operands and what multiplies them. */
    private static final class Product implements Subject.Prepared {

        private final ModelMemory memory;
        private final Runnable run;
        private final KernelWork work;

        Product(Kind kind, boolean forward, int rows, int in, int out, CpuDevice device) {
            this.memory = new ModelMemory(device);
            Tensor x = Numbers.fill(memory.empty(DType.F32, rows, in));
            Tensor y = Numbers.fill(memory.empty(DType.F32, rows, out));
            double bytes = x.byteSize() + y.byteSize();
            if (kind == Kind.NF4) {
                Nf4Weight w = quantized(in, out, device);
                Nf4Linear.Kernel kernel = device.kernel(Nf4Linear.Kernel.class);
                Grad dx = new Grad(x, false);
                this.run = forward ? () -> kernel.forward(x, w, y) : () -> kernel.backward(w, y, dx);
                bytes += w.byteSize();
            } else {
                Tensor w = Numbers.fill(memory.empty(kind.dtype(), out, in));
                this.run = kind == Kind.OPENBLAS
                        ? openBlas(forward, x, w, y, device.workers().threads())
                        : linear(forward, x, w, y, device);
                bytes += w.byteSize();
            }
            this.work = new KernelWork(2.0 * rows * in * out, bytes);
        }

        private Nf4Weight quantized(int in, int out, CpuDevice device) {
            try (ModelMemory dense = new ModelMemory(device)) {
                return Nf4.quantize(Numbers.fill(dense.empty(DType.F32, out, in)), true, memory, device);
            }
        }

        private static Runnable linear(boolean forward, Tensor x, Tensor w, Tensor y, CpuDevice device) {
            Linear.Kernel kernel = device.kernel(Linear.Kernel.class);
            Grad dx = new Grad(x, false);
            return forward ? () -> kernel.forward(x, w, y) : () -> kernel.backward(null, w, y, dx, null);
        }

        private static Runnable openBlas(boolean forward, Tensor x, Tensor w, Tensor y, int threads) {
            return forward ? OpenBlas.forward(x, w, y, threads) : OpenBlas.backward(y, w, x, threads);
        }

        @Override
        public void run() {
            run.run();
        }

        @Override
        public KernelWork work() {
            return work;
        }

        @Override
        public void close() {
            memory.close();
        }
    }
}
