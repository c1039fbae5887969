package io.qlora.cuda.bench;

import static io.qlora.cuda.bench.KernelCase.Precision.ELEMENTS;
import static io.qlora.cuda.bench.KernelCase.Precision.EXACT;

import io.qlora.cuda.bench.KernelCase.Work;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.nf4.Nf4;
import java.util.List;

/** Encoding to 4 bits and back. */
final class Nf4Cases {

    static final String DECODE = "Nf4.dequantize";

    static final List<KernelCase> ALL = List.of(
            KernelCase.of(DECODE, Nf4.Codec.class, ELEMENTS, (in, s) -> {
                Nf4Weight w = in.nf4("w", s.feedForward(), s.width());
                Tensor values = in.output(s.feedForward(), s.width());
                Nf4.Codec codec = in.kernel(Nf4.Codec.class);
                return Work.of(() -> codec.dequantize(w, values));
            }),
            KernelCase.of("Nf4.quantize", Nf4.Codec.class, EXACT, (in, s) -> {
                Tensor w = in.weight("w", s.feedForward(), s.width());
                Tensor codes = in.output(DType.U8, (w.size() + 1) / 2);
                Tensor absmax = in.output(DType.F32, blocks(w.size()));
                Nf4.Codec codec = in.kernel(Nf4.Codec.class);
                return Work.of(() -> codec.quantize(w, codes, absmax));
            }),
            KernelCase.of("Nf4.quantizeAbsmax", Nf4.Codec.class, EXACT, (in, s) -> {
                long blocks = blocks((long) s.feedForward() * s.width());
                Tensor absmax = in.floats("absmax", blocks);
                Tensor codes = in.output(DType.U8, blocks);
                Tensor absmax2 = in.output(DType.F32, Math.ceilDiv(blocks, (long) Nf4Weight.NESTED_BLOCK));
                Nf4.Codec codec = in.kernel(Nf4.Codec.class);
                return Work.of(() -> codec.quantizeAbsmax(absmax, 0.25f, codes, absmax2));
            }));

    private Nf4Cases() {}

    private static long blocks(long elements) {
        return Math.ceilDiv(elements, (long) Nf4Weight.BLOCK);
    }
}
