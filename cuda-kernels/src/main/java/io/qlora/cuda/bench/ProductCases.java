package io.qlora.cuda.bench;

import static io.qlora.cuda.bench.KernelCase.Precision.PRODUCTS;

import io.qlora.cuda.bench.KernelCase.Work;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Linear;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.lora.LoraLinear;
import io.qlora.nf4.Nf4Linear;
import java.util.List;

/** Linears, all of the shape of the feed-forward block's first: [F, C]. */
final class ProductCases {

    static final String DENSE = "Linear.forward";
    static final String NF4 = "Nf4Linear.forward";
    static final String NF4_ROW = "Nf4Linear.forward of one row";

    private static final KernelCase NF4_OF_ONE_ROW =
            KernelCase.of(NF4_ROW, Nf4Linear.Kernel.class, PRODUCTS, (in, s) -> nf4(in, s.withTokens(1)));

    /** Of one row, for which there are kernels of their own. */
    static final List<KernelCase> ROWS = List.of(
            NF4_OF_ONE_ROW,
            dense("Linear.forward of one row", (in, s) -> forward(in, s.withTokens(1), weight(in, s))),
            dense("Linear.forward of one row, float32 weight", (in, s) -> forward(in, s.withTokens(1), full(in, s))));

    /** Whose operands have to be converted on their way, or begin where no vector may be loaded from. */
    static final List<KernelCase> UNUSUAL = List.of(
            dense("Linear.forward, float32 weight", (in, s) -> forward(in, s, full(in, s))),
            dense("Linear.backward, float32 weight", (in, s) -> backward(in, s, full(in, s))),
            dense("Linear.forward of unaligned rows", (in, s) -> {
                long elements = (long) s.tokens() * s.width();
                Tensor x = in.activation("x", elements + 1).rows(1, elements + 1);
                return forward(in, s, x.reshape(s.tokens(), s.width()), weight(in, s));
            }));

    static final List<KernelCase> ALL = List.of(
            KernelCase.of(DENSE, Linear.Kernel.class, PRODUCTS, (in, s) -> forward(in, s, weight(in, s))),
            KernelCase.of("Linear.backward", Linear.Kernel.class, PRODUCTS, (in, s) -> backward(in, s, weight(in, s))),
            KernelCase.checked("Linear.backward to the weight", Linear.Kernel.class, PRODUCTS, (in, s) -> {
                Tensor x = in.activation("x", s.tokens(), s.width());
                Tensor w = in.floats("w", s.feedForward(), s.width());
                Tensor dy = in.activation("dy", s.tokens(), s.feedForward());
                Grad dw = in.parameterGradient("dw", s.feedForward(), s.width());
                Linear.Kernel kernel = in.kernel(Linear.Kernel.class);
                return Work.of(() -> kernel.backward(x, w, dy, null, dw), flops(s));
            }),
            KernelCase.of(NF4, Nf4Linear.Kernel.class, PRODUCTS, ProductCases::nf4),
            NF4_OF_ONE_ROW,
            KernelCase.of("Nf4Linear.backward", Nf4Linear.Kernel.class, PRODUCTS, (in, s) -> {
                Nf4Weight w = in.nf4("w", s.feedForward(), s.width());
                Tensor dy = in.activation("dy", s.tokens(), s.feedForward());
                Grad dx = in.gradient("dx", s.tokens(), s.width());
                Nf4Linear.Kernel kernel = in.kernel(Nf4Linear.Kernel.class);
                return Work.of(() -> kernel.backward(w, dy, dx), flops(s));
            }),
            KernelCase.of("LoraLinear.forward", LoraLinear.Kernel.class, PRODUCTS, (in, s) -> {
                Tensor x = in.activation("x", s.tokens(), s.width());
                Nf4Weight w = in.nf4("w", s.feedForward(), s.width());
                LoraLinear.LowRank adapter = adapter(in, s);
                Tensor u = in.output(s.tokens(), s.rank());
                Tensor y = in.output(s.tokens(), s.feedForward());
                LoraLinear.Kernel kernel = in.kernel(LoraLinear.Kernel.class);
                return Work.of(() -> kernel.forward(x, x, w, adapter, u, y), flops(s) + adapterFlops(s));
            }),
            KernelCase.of("LoraLinear.backward", LoraLinear.Kernel.class, PRODUCTS, (in, s) -> {
                Tensor x = in.activation("x", s.tokens(), s.width());
                Nf4Weight w = in.nf4("w", s.feedForward(), s.width());
                LoraLinear.LowRank adapter = adapter(in, s);
                Tensor u = in.activation("u", s.tokens(), s.rank());
                Tensor dy = in.activation("dy", s.tokens(), s.feedForward());
                Tensor v = in.output(s.tokens(), s.rank());
                Grad dx = in.gradient("dx", s.tokens(), s.width());
                Grad da = in.parameterGradient("da", s.rank(), s.width());
                Grad db = in.parameterGradient("db", s.feedForward(), s.rank());
                LoraLinear.Kernel kernel = in.kernel(LoraLinear.Kernel.class);
                return Work.of(
                        () -> kernel.backward(x, w, adapter, u, dy, v, dx, null, da, db),
                        flops(s) + 2 * adapterFlops(s));
            }));

    private ProductCases() {}

    private static KernelCase dense(String name, KernelCase.Preparation preparation) {
        return KernelCase.checked(name, Linear.Kernel.class, PRODUCTS, preparation);
    }

    private static Tensor weight(Operands in, Size s) {
        return in.weight("w", s.feedForward(), s.width());
    }

    private static Tensor full(Operands in, Size s) {
        return in.floats("w", s.feedForward(), s.width());
    }

    private static Work forward(Operands in, Size s, Tensor w) {
        return forward(in, s, in.activation("x", s.tokens(), s.width()), w);
    }

    private static Work forward(Operands in, Size s, Tensor x, Tensor w) {
        Tensor y = in.output(s.tokens(), s.feedForward());
        Linear.Kernel kernel = in.kernel(Linear.Kernel.class);
        return Work.of(() -> kernel.forward(x, w, y), flops(s));
    }

    private static Work backward(Operands in, Size s, Tensor w) {
        Tensor dy = in.activation("dy", s.tokens(), s.feedForward());
        Grad dx = in.gradient("dx", s.tokens(), s.width());
        Linear.Kernel kernel = in.kernel(Linear.Kernel.class);
        return Work.of(() -> kernel.backward(null, w, dy, dx, null), flops(s));
    }

    private static Work nf4(Operands in, Size s) {
        Tensor x = in.activation("x", s.tokens(), s.width());
        Nf4Weight w = in.nf4("w", s.feedForward(), s.width());
        Tensor y = in.output(s.tokens(), s.feedForward());
        Nf4Linear.Kernel kernel = in.kernel(Nf4Linear.Kernel.class);
        return Work.of(() -> kernel.forward(x, w, y), flops(s));
    }

    private static LoraLinear.LowRank adapter(Operands in, Size s) {
        Tensor a = in.floats("a", s.rank(), s.width());
        Tensor b = in.floats("b", s.feedForward(), s.rank());
        return new LoraLinear.LowRank(a, b, 0.5f);
    }

    private static double flops(Size s) {
        return 2.0 * s.tokens() * s.feedForward() * s.width();
    }

    private static double adapterFlops(Size s) {
        return 2.0 * s.tokens() * s.rank() * (s.feedForward() + s.width());
    }

    /** A square product on bfloat16 operands, of this many rows. */
    static Work square(Operands in, int n) {
        Tensor x = in.weight("x", n, n);
        Tensor w = in.weight("w", n, n);
        Tensor y = in.output(DType.BF16, n, n);
        Linear.Kernel kernel = in.kernel(Linear.Kernel.class);
        return Work.of(() -> kernel.forward(x, w, y), 2.0 * n * n * n);
    }
}
