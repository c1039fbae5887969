package io.qlora.engine.scalar;

import static io.qlora.engine.scalar.Floats.get;
import static io.qlora.engine.scalar.Floats.put;

import io.qlora.engine.optim.AdamW;
import io.qlora.engine.tensor.Tensor;
import java.util.List;

/** {@link AdamW} element by element, in double between the float32 state of one step and that of the next. */
final class ScalarAdamW implements AdamW.Kernel {

    @Override
    public void step(List<AdamW.Slot> slots, AdamW.Step step) {
        for (AdamW.Slot slot : slots) {
            Tensor p = slot.parameter().value();
            for (long i = 0; i < p.size(); i++) {
                double g = get(slot.parameter().gradient(), i) * step.gradientScale();
                double m = get(slot.mean(), i);
                m += step.meanWeight() * (g - m);
                double v = get(slot.square(), i) * (double) step.squareDecay() + step.squareWeight() * g * g;
                put(slot.mean(), i, m);
                put(slot.square(), i, v);
                double denominator = Math.sqrt(v) / step.squareCorrection() + step.epsilon();
                put(p, i, get(p, i) * (double) step.keep(slot) - step.size(slot) * m / denominator);
            }
        }
    }
}
