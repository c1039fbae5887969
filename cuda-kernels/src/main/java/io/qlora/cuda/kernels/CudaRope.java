package io.qlora.cuda.kernels;

import io.qlora.cuda.ActivationFunction;
import io.qlora.cuda.Arguments;
import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.KernelArguments;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Rope;
import io.qlora.engine.tensor.Tensor;

/** {@link Rope} by {@code rope.cu}: queries and keys in one launch. */
final class CudaRope implements Rope.Kernel {

    private static final int PAIRS = 8; // a thread

    private final CudaDevice device;
    private final ActivationFunction rope;

    CudaRope(CudaDevice device) {
        this.device = device;
        this.rope = new ActivationFunction(device, "rope", "rope");
    }

    /** Where what comes from: {@code toQ} and {@code toK} may be null, or where {@code q} and {@code k} are. */
    private record Rotate(Tensor q, Grad toQ, Tensor k, Grad toK, Rope.Table table, Tensor positions, float sign)
            implements KernelArguments {
        @Override
        public void write(Arguments to) {
            int head = table.headSize();
            to.pointer(q).gradient(toQ).integer(q == null ? 0 : q.cols() / head);
            to.pointer(k).gradient(toK).integer(k == null ? 0 : k.cols() / head);
            to.pointer(table.cos())
                    .pointer(table.sin())
                    .pointer(positions)
                    .integer(Math.toIntExact(positions.size()))
                    .integer(head / 2)
                    .real(sign);
        }
    }

    /** A thread for every eight pairs. */
    private void launch(Rotate rotate) {
        Tensor either = rotate.q == null ? rotate.k : rotate.q;
        int head = rotate.table.headSize();
        long heads = (rotate.q == null ? 0 : rotate.q.cols() / head) + (rotate.k == null ? 0 : rotate.k.cols() / head);
        long threads = rotate.positions.size() * heads * Math.ceilDiv(head / 2, PAIRS);
        device.launch(rope.of(either), Launches.threads(threads), rotate);
    }

    @Override
    public void forward(Tensor q, Tensor k, Rope.Table table, Tensor positions) {
        launch(new Rotate(q, new Grad(q, false), k, new Grad(k, false), table, positions, 1));
    }

    @Override
    public void backward(Tensor dyq, Tensor dyk, Rope.Table table, Tensor positions, Grad dq, Grad dk) {
        if (dq != null || dk != null) {
            launch(new Rotate(dyq, dq, dyk, dk, table, positions, -1));
        }
    }
}
