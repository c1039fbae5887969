package io.qlora.cuda.bench;

import static io.qlora.cuda.bench.KernelCase.Precision.PRODUCTS;

import io.qlora.cuda.bench.KernelCase.Work;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Attention;
import io.qlora.engine.ops.CachedAttention;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.util.List;

/** Attention: one document when it is measured, two when it is checked. */
final class AttentionCases {

    static final String FORWARD = "Attention.forward";
    static final String BACKWARD = "Attention.backward";

    static final List<KernelCase> ALL = List.of(
            KernelCase.of(FORWARD, Attention.Kernel.class, PRODUCTS, AttentionCases::forward),
            KernelCase.of(BACKWARD, Attention.Kernel.class, PRODUCTS, AttentionCases::backward),
            forward(64),
            backward(64),
            forward(256),
            backward(256),
            KernelCase.of("CachedAttention.forward", CachedAttention.Kernel.class, PRODUCTS, (in, s) -> {
                Tensor q = in.activation("q", 1, s.width());
                Tensor k = in.activation("k", s.tokens(), s.kvWidth());
                Tensor v = in.activation("v", s.tokens(), s.kvWidth());
                Tensor y = in.output(1, s.width());
                CachedAttention.Kernel kernel = in.kernel(CachedAttention.Kernel.class);
                return Work.of(() -> kernel.forward(q, k, v, s.tokens() - 1, s.heads(), s.kvHeads(), y));
            }));

    private AttentionCases() {}

    private static KernelCase forward(int headSize) {
        String name = FORWARD + " of heads of " + headSize;
        return KernelCase.checked(
                name, Attention.Kernel.class, PRODUCTS, (in, s) -> forward(in, s.withHeadSize(headSize)));
    }

    private static KernelCase backward(int headSize) {
        String name = BACKWARD + " of heads of " + headSize;
        return KernelCase.checked(
                name, Attention.Kernel.class, PRODUCTS, (in, s) -> backward(in, s.withHeadSize(headSize)));
    }

    private static Work forward(Operands in, Size s) {
        Call call = new Call(in, s);
        return Work.of(call::forward, 2 * call.flops());
    }

    private static Work backward(Operands in, Size s) {
        Call call = new Call(in, s);
        call.forward();
        Tensor dy = in.activation("dy", s.tokens(), s.width());
        Grad dq = in.gradient("dq", s.tokens(), s.width());
        Grad dk = in.gradient("dk", s.tokens(), s.kvWidth());
        Grad dv = in.gradient("dv", s.tokens(), s.kvWidth());
        Tensor delta = in.memory().empty(DType.F32, s.heads(), s.tokens());
        return Work.of(() -> call.backward(dy, delta, dq, dk, dv), 5 * call.flops());
    }

    private static final class Call {

        private final Attention.Kernel kernel;
        private final Attention.Layout layout;
        private final double pairs; // of a query and a key it sees
        private final int width;
        private final Tensor q;
        private final Tensor k;
        private final Tensor v;
        private final Tensor y;
        private final Tensor logSumExp;

        Call(Operands in, Size s) {
            int first = s.equals(Size.LARGE) ? s.tokens() : s.tokens() / 3;
            int rest = s.tokens() - first;
            int[] starts = rest == 0 ? new int[] {0, first} : new int[] {0, first, s.tokens()};
            kernel = in.kernel(Attention.Kernel.class);
            layout = new Attention.Layout(in.ints(starts), Math.max(first, rest), s.heads(), s.kvHeads());
            pairs = (first * (first + 1.0) + rest * (rest + 1.0)) / 2;
            width = s.width();
            q = in.activation("q", s.tokens(), s.width());
            k = in.activation("k", s.tokens(), s.kvWidth());
            v = in.activation("v", s.tokens(), s.kvWidth());
            y = in.output(s.tokens(), s.width());
            logSumExp = in.output(DType.F32, s.heads(), s.tokens());
        }

        /** Of one product of all queries with the keys or values they see. */
        double flops() {
            return 2 * pairs * width;
        }

        void forward() {
            kernel.forward(q, k, v, layout, y, logSumExp);
        }

        void backward(Tensor dy, Tensor delta, Grad dq, Grad dk, Grad dv) {
            kernel.backward(q, k, v, y, logSumExp, dy, layout, delta, dq, dk, dv);
        }
    }
}
