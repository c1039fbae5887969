package io.qlora.cuda.bench;

import static io.qlora.cuda.bench.KernelCase.Precision.ELEMENTS;

import io.qlora.cuda.bench.KernelCase.Work;
import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.optim.AdamW;
import io.qlora.engine.optim.GradientNorm;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import java.util.ArrayList;
import java.util.List;

/** What follows the gradients: over all trained tensors at once. */
final class OptimizerCases {

    static final List<KernelCase> ALL = List.of(
            KernelCase.of("AdamW.step", AdamW.Kernel.class, ELEMENTS, (in, s) -> {
                List<AdamW.Slot> slots = new ArrayList<>();
                double bytes = 0;
                for (int i = 0; i < s.slots(); i++) {
                    Tensor value = in.result(in.floats("value" + i, s.rank(), s.feedForward() + i));
                    Tensor gradient = in.floats("gradient" + i, s.rank(), s.feedForward() + i);
                    Tensor mean = in.result(in.floats("mean" + i, s.rank(), s.feedForward() + i));
                    Tensor square = in.result(in.memory().zeros(DType.F32, s.rank(), s.feedForward() + i));
                    slots.add(new AdamW.Slot(new Parameter("p" + i, value, gradient), mean, square, 1));
                    bytes += 7.0 * value.byteSize(); // all but the gradient is read and written
                }
                AdamW.Options options = AdamW.Options.DEFAULT.withWeightDecay(0.01);
                AdamW.Step step = new AdamW.Step(options, 1e-3, 3, 0.5f);
                AdamW.Kernel kernel = in.kernel(AdamW.Kernel.class);
                return new Work(() -> kernel.step(slots, step), 0, bytes);
            }),
            KernelCase.of("GradientNorm.norm", GradientNorm.Kernel.class, ELEMENTS, (in, s) -> {
                List<Tensor> gradients = new ArrayList<>();
                for (int i = 0; i < s.slots(); i++) {
                    gradients.add(in.floats("gradient" + i, s.rank(), s.feedForward() + i));
                }
                Tensor norm = in.output(DType.F32, 1);
                GradientNorm.Kernel kernel = in.kernel(GradientNorm.Kernel.class);
                return Work.of(() -> kernel.norm(gradients, norm));
            }));

    private OptimizerCases() {}
}
