package io.qlora.trainer.profile;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Attention;
import io.qlora.engine.ops.CachedAttention;
import io.qlora.engine.ops.Embedding;
import io.qlora.engine.ops.Linear;
import io.qlora.engine.ops.Rope;
import io.qlora.engine.optim.AdamW;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;
import io.qlora.lora.LoraLinear;
import io.qlora.nf4.Nf4Linear;
import java.util.List;
import java.util.Map;

/**
 * The least that a kernel's call has to do: what its speed is held against the machine's by.
 *
 * @param flops floating-point operations of its products, a multiplication and an addition counted as two; 0 where there
 *     are none, for then memory is what it waits for
 * @param bytes of its operands and results, each read or written once; read and written, where it changes or adds
 */
public record KernelWork(double flops, double bytes) {

    /** Nothing. */
    public static final KernelWork NONE = new KernelWork(0, 0);

    /** The work of one method of a contract. */
    @FunctionalInterface
    private interface Formula {
        KernelWork of(String method, Object[] arguments);
    }

    private static final Map<Class<?>, Formula> FORMULAS = Map.of(
            Linear.Kernel.class, KernelWork::linear,
            Nf4Linear.Kernel.class, KernelWork::nf4Linear,
            LoraLinear.Kernel.class, KernelWork::loraLinear,
            Attention.Kernel.class, KernelWork::attention,
            CachedAttention.Kernel.class, KernelWork::cachedAttention,
            Embedding.Kernel.class, KernelWork::embedding,
            Rope.Kernel.class, KernelWork::rope,
            AdamW.Kernel.class, KernelWork::adamW);

    /** The work of a call; of a contract that is not known here, the bytes of all tensors it is given. */
    public static KernelWork of(Class<?> contract, String method, Object[] arguments) {
        Formula formula = FORMULAS.getOrDefault(contract, (name, given) -> new KernelWork(0, bytes(given)));
        return formula.of(method, arguments);
    }

    /** Both. */
    public KernelWork plus(KernelWork more) {
        return new KernelWork(flops + more.flops, bytes + more.bytes);
    }

    /** forward(x, w, y), backward(x, w, dy, dx, dw). */
    private static KernelWork linear(String method, Object[] a) {
        Tensor w = (Tensor) a[1];
        double product = 2.0 * ((Tensor) a[2]).rows() * w.size();
        if (method.equals("forward")) {
            return new KernelWork(product, bytes(a));
        }
        KernelWork dx = a[3] == null ? NONE : new KernelWork(product, bytes(w, a[2], a[3]));
        KernelWork dw = a[4] == null ? NONE : new KernelWork(product, bytes(a[0], a[2], a[4]));
        return dx.plus(dw);
    }

    /** forward(x, w, y), backward(w, dy, dx). */
    private static KernelWork nf4Linear(String method, Object[] a) {
        Weight w = (Weight) (method.equals("forward") ? a[1] : a[0]);
        return new KernelWork(product(((Tensor) (method.equals("forward") ? a[0] : a[1])).rows(), w), bytes(a));
    }

    /** forward(x, dropped, w, adapter, u, y), down(dropped, adapter, u), backward(dropped, w, adapter, u, dy, v, dx, dDropped, da, db). */
    private static KernelWork loraLinear(String method, Object[] a) {
        if (method.equals("down")) {
            Tensor ofDown = ((LoraLinear.LowRank) a[1]).a();
            return new KernelWork(2.0 * ((Tensor) a[0]).rows() * ofDown.size(), bytes(a[0], ofDown, a[2]));
        }
        boolean forward = method.equals("forward");
        Weight w = (Weight) a[forward ? 2 : 1];
        LoraLinear.LowRank adapter = (LoraLinear.LowRank) a[forward ? 3 : 2];
        double rows = ((Tensor) a[0]).rows();
        double ofA = 2 * rows * adapter.a().size();
        double ofB = 2 * rows * adapter.b().size();
        double bytes = bytes(adapter.a(), adapter.b());
        if (forward) {
            Object dropped = a[1] == a[0] ? null : a[1];
            return new KernelWork(product(rows, w) + ofA + ofB, bytes + bytes(a[0], dropped, w, a[4], a[5]));
        }
        double base = a[6] == null ? 0 : product(rows, w) + ofA;
        double inner = a[6] == null && a[8] == null ? 0 : ofB;
        double dA = a[8] == null ? 0 : ofA;
        double dB = a[9] == null ? 0 : ofB;
        Object input = a[8] == null ? null : a[0];
        Object weight = a[6] == null ? null : w;
        return new KernelWork(
                base + inner + dA + dB, bytes + bytes(input, weight, a[3], a[4], a[5], a[6], a[7], a[8], a[9]));
    }

    private static double product(double rows, Weight w) {
        return 2.0 * rows * w.out() * w.in();
    }

    /**
     * forward(q, k, v, layout, y, logSumExp), of two products; backward(q, k, v, y, logSumExp, dy, layout, …), of five: the
     * scores again, and those for dp, dq, dk, dv. A product takes each query and each key it sees.
     */
    private static KernelWork attention(String method, Object[] a) {
        boolean forward = method.equals("forward");
        int[] starts = ((Attention.Layout) a[forward ? 3 : 6]).offsets().toInts();
        double pairs = 0;
        for (int s = 0; s + 1 < starts.length; s++) {
            double length = starts[s + 1] - starts[s];
            pairs += length * (length + 1) / 2;
        }
        return new KernelWork((forward ? 2 : 5) * 2 * pairs * ((Tensor) a[0]).cols(), bytes(a));
    }

    /** forward(q, k, v, past, heads, kvHeads, y). */
    private static KernelWork cachedAttention(String method, Object[] a) {
        Tensor q = (Tensor) a[0];
        double rows = q.rows();
        double past = (int) a[3];
        double seen = past + rows;
        double cache = seen * (((Tensor) a[1]).cols() + ((Tensor) a[2]).cols()) * 4;
        return new KernelWork(4 * (past * rows + rows * (rows + 1) / 2) * q.cols(), cache + bytes(q, a[6]));
    }

    /** forward(ids, table, y), backward(ids, dy, dtable): of the table only the rows that are asked for. */
    private static KernelWork embedding(String method, Object[] a) {
        if (method.equals("forward")) {
            Tensor y = (Tensor) a[2];
            double rows = (double) y.size() * ((Tensor) a[1]).dtype().bytes();
            return new KernelWork(0, rows + bytes(a[0], y));
        }
        return new KernelWork(0, 3 * bytes(a[1]) + bytes(a[0]));
    }

    /** forward(q, k, table, positions), in place; backward(dyq, dyk, table, positions, dq, dk). */
    private static KernelWork rope(String method, Object[] a) {
        int twice = method.equals("forward") ? 2 : 1;
        double angles = (double) ((Tensor) a[3]).size() * ((Rope.Table) a[2]).headSize() * 4;
        double results = method.equals("forward") ? 0 : bytes(a[4], a[5]);
        return new KernelWork(0, twice * bytes(a[0], a[1]) + angles + results);
    }

    /** step(slots, step): all but the gradient is read and written. */
    private static KernelWork adamW(String method, Object[] a) {
        double bytes = 0;
        for (Object each : (List<?>) a[0]) {
            AdamW.Slot slot = (AdamW.Slot) each;
            bytes += 7.0 * slot.parameter().value().byteSize();
        }
        return new KernelWork(0, bytes);
    }

    private static double bytes(Object... operands) {
        double bytes = 0;
        for (Object operand : operands) {
            bytes += switch (operand) {
                case Tensor tensor -> tensor.byteSize();
                case Grad grad ->
                    (grad.accumulate() ? 2.0 : 1.0) * grad.tensor().byteSize();
                case Weight weight -> weight.byteSize();
                case List<?> list -> bytes(list.toArray());
                case null, default -> 0;
            };
        }
        return bytes;
    }
}
