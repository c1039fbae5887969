package io.qlora.nf4.cpu;

import io.qlora.engine.cpu.DensePanels;
import io.qlora.engine.cpu.PanelSource;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Weight;

/** Panels of a weight of any kind, for the CPU's matrix product: {@link DensePanels} or {@link Nf4Panels}. To be closed after it. */
public final class WeightPanels {

    private WeightPanels() {}

    /** {@code Wᵀ}, for {@code x·Wᵀ}: depth in, width out. */
    public static PanelSource forward(Weight w) {
        return switch (w) {
            case DenseWeight dense -> DensePanels.forward(dense.tensor());
            case Nf4Weight nf4 -> Nf4Panels.forward(nf4);
        };
    }

    /** W itself, for {@code dy·W}: depth out, width in. */
    public static PanelSource backward(Weight w) {
        return switch (w) {
            case DenseWeight dense -> DensePanels.backward(dense.tensor());
            case Nf4Weight nf4 -> Nf4Panels.backward(nf4);
        };
    }
}
