package io.qlora.lora.cpu;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Linear;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.engine.tensor.Weight;
import io.qlora.nf4.Nf4Linear;

/** The layer below the adapter, alone: the kernels of its own op. */
record BaseLinear(Device device) {

    /** y = x · Wᵀ. */
    void forward(Tensor x, Weight w, Tensor y) {
        switch (w) {
            case DenseWeight dense -> device.kernel(Linear.Kernel.class).forward(x, dense.tensor(), y);
            case Nf4Weight nf4 -> device.kernel(Nf4Linear.Kernel.class).forward(x, nf4, y);
        }
    }

    /** dx (+)= dy · W. */
    void backward(Weight w, Tensor dy, Grad dx) {
        switch (w) {
            case DenseWeight dense -> device.kernel(Linear.Kernel.class).backward(null, dense.tensor(), dy, dx, null);
            case Nf4Weight nf4 -> device.kernel(Nf4Linear.Kernel.class).backward(nf4, dy, dx);
        }
    }
}
