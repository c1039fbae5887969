package io.qlora.lora.cpu;

import static io.qlora.engine.scalar.Floats.add;
import static io.qlora.engine.scalar.Floats.get;
import static io.qlora.engine.scalar.Floats.put;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.cpu.CpuDevice;
import io.qlora.engine.cpu.Workers;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;
import io.qlora.lora.LoraLinear;
import io.qlora.lora.LoraLinear.LowRank;

/** {@link LoraLinear} as its formula reads, sums in double: the base's op first, the adapter on top. */
final class ScalarLoraLinear implements LoraLinear.Kernel {

    private final Workers workers;
    private final BaseLinear base;

    ScalarLoraLinear(CpuDevice device) {
        this.workers = device.workers();
        this.base = new BaseLinear(device);
    }

    @Override
    public void forward(Tensor x, Tensor dropped, Weight w, LowRank adapter, Tensor u, Tensor y) {
        base.forward(x, w, y);
        down(dropped, adapter, u);
        Tensor b = adapter.b();
        int rank = adapter.rank();
        workers.run(x.length(), t -> {
            for (int o = 0; o < w.out(); o++) {
                double sum = dot(u, at(t, 0, rank), 1, b, at(o, 0, rank), 1, rank);
                long i = at(t, o, w.out());
                put(y, i, get(y, i) + adapter.scale() * sum);
            }
        });
    }

    @Override
    public void down(Tensor dropped, LowRank adapter, Tensor u) {
        Tensor a = adapter.a();
        int in = a.cols();
        int rank = adapter.rank();
        workers.run(dropped.length(), t -> {
            for (int r = 0; r < rank; r++) {
                put(u, at(t, r, rank), dot(dropped, at(t, 0, in), 1, a, at(r, 0, in), 1, in));
            }
        });
    }

    @Override
    public void backward(
            Tensor dropped,
            Weight w,
            LowRank adapter,
            Tensor u,
            Tensor dy,
            Tensor v,
            Grad dx,
            Tensor dDropped,
            Grad da,
            Grad db) {
        int tokens = dy.length();
        int rank = adapter.rank();
        double s = adapter.scale();
        workers.run(tokens, t -> {
            for (int r = 0; r < rank; r++) {
                put(v, at(t, r, rank), dot(dy, at(t, 0, w.out()), 1, adapter.b(), r, rank, w.out()));
            }
        });
        if (db != null) {
            workers.run(w.out(), o -> {
                for (int r = 0; r < rank; r++) {
                    add(db, at(o, r, rank), s * dot(dy, o, w.out(), u, r, rank, tokens));
                }
            });
        }
        if (da != null) {
            workers.run(w.in(), i -> {
                for (int r = 0; r < rank; r++) {
                    add(da, at(r, i, w.in()), s * dot(v, r, rank, dropped, i, w.in(), tokens));
                }
            });
        }
        if (dx != null) {
            base.backward(w, dy, dx);
            Grad inner = dDropped == null ? new Grad(dx.tensor(), true) : new Grad(dDropped, false);
            workers.run(tokens, t -> {
                for (int i = 0; i < w.in(); i++) {
                    add(inner, at(t, i, w.in()), s * dot(v, at(t, 0, rank), 1, adapter.a(), i, w.in(), rank));
                }
            });
        }
    }

    private static long at(int row, int col, int cols) {
        return (long) row * cols + col;
    }

    /** The sum of {@code count} products, of elements that lie a step apart. */
    private static double dot(Tensor x, long xFrom, int xStep, Tensor y, long yFrom, int yStep, int count) {
        double sum = 0;
        for (long k = 0; k < count; k++) {
            sum += (double) get(x, xFrom + k * xStep) * get(y, yFrom + k * yStep);
        }
        return sum;
    }
}
