package io.qlora.cuda.kernels;

import io.qlora.cuda.Arguments;
import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.CudaFunction;
import io.qlora.cuda.KernelArguments;
import io.qlora.cuda.driver.CudaDriver.Shape;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Attention;
import io.qlora.engine.ops.CachedAttention;
import io.qlora.engine.tensor.Tensor;
import java.util.Map;

/** {@link Attention} and {@link CachedAttention} by {@code attention.cu}. Heads may have up to 128 elements. */
final class CudaAttention implements Attention.Kernel, CachedAttention.Kernel {

    private static final int OWN = 64; // rows of a block
    private static final int OTHERS = 32; // rows of a tile
    private static final int THREADS = 128;
    private static final int PADDING = 8; // elements a row in shared memory
    private static final int DELTAS = 8; // a block
    private static final int FEW = 16; // new tokens that are attended from one by one

    private final CudaDevice device;
    private final Map<Integer, CudaFunction> forward;
    private final Map<Integer, CudaFunction> backwardQ;
    private final Map<Integer, CudaFunction> backwardKv;
    private final CudaFunction deltas;
    private final CudaFunction one;

    CudaAttention(CudaDevice device) {
        this.device = device;
        this.forward = widths("attention_forward_");
        this.backwardQ = widths("attention_backward_q_");
        this.backwardKv = widths("attention_backward_kv_");
        this.deltas = device.function("attention", "attention_deltas");
        this.one = device.function("attention", "attention_of_one");
    }

    private Map<Integer, CudaFunction> widths(String name) {
        return Map.of(
                32, device.function("attention", name + 32),
                64, device.function("attention", name + 64),
                128, device.function("attention", name + 128));
    }

    /** What is attended to: struct AttentionCall's first half. {@code offsets} is null for one document. */
    private record Operands(Tensor q, Tensor k, Tensor v, Tensor offsets, int past, int heads, int kvHeads)
            implements KernelArguments {

        int size() {
            return q.cols() / heads;
        }

        /** The head size in shared memory. */
        int width() {
            int size = size();
            if (size > 128) {
                throw new IllegalArgumentException(
                        "Attention: heads have " + size + " elements, the CUDA kernels take up to 128");
            }
            return size <= 32 ? 32 : size <= 64 ? 64 : 128;
        }

        @Override
        public void write(Arguments to) {
            to.pointer(q).pointer(k).pointer(v).integer(q.dtype().ordinal());
            to.pointer(offsets).integer(offsets == null ? 0 : (int) offsets.size() - 1);
            to.integer(q.rows())
                    .integer(offsets == null ? past + q.rows() : k.rows())
                    .integer(past);
            to.integer(heads).integer(kvHeads).integer(size());
            to.real((float) (1 / Math.sqrt(size())));
        }
    }

    private record Forward(Operands operands, Tensor y, Tensor logSumExp) implements KernelArguments {
        @Override
        public void write(Arguments to) {
            operands.write(to);
            to.pointer(y).pointer(logSumExp);
            to.pointer(null).pointer(null).gradient(null).gradient(null).gradient(null);
        }
    }

    private record Backward(
            Operands operands, Tensor y, Tensor logSumExp, Tensor dy, Tensor delta, Grad dq, Grad dk, Grad dv)
            implements KernelArguments {
        @Override
        public void write(Arguments to) {
            operands.write(to);
            to.pointer(y).pointer(logSumExp).pointer(dy).pointer(delta);
            to.gradient(dq).gradient(dk).gradient(dv);
        }
    }

    @Override
    public void forward(Tensor q, Tensor k, Tensor v, Attention.Layout layout, Tensor y, Tensor logSumExp) {
        Operands operands = new Operands(q, k, v, layout.offsets(), 0, layout.heads(), layout.kvHeads());
        launchForward(new Forward(operands, y, logSumExp));
    }

    @Override
    public void forward(Tensor q, Tensor k, Tensor v, int past, int heads, int kvHeads, Tensor y) {
        Operands operands = new Operands(q, k, v, null, past, heads, kvHeads);
        Forward call = new Forward(operands, y, null);
        if (q.rows() > FEW) {
            launchForward(call);
        } else {
            operands.width(); // refuses what does not fit
            device.launch(one, new Shape(heads, q.rows(), 1, Launches.THREADS, 0), call);
        }
    }

    private void launchForward(Forward call) {
        Operands operands = call.operands;
        int shared = sharedBytes(OWN + 2 * OTHERS, operands.width());
        device.launch(forward.get(operands.width()), blocks(operands.q.rows(), operands.heads, shared), call);
    }

    @Override
    public void backward(
            Tensor q,
            Tensor k,
            Tensor v,
            Tensor y,
            Tensor logSumExp,
            Tensor dy,
            Attention.Layout layout,
            Tensor delta,
            Grad dq,
            Grad dk,
            Grad dv) {
        if (dq == null && dk == null && dv == null) {
            return;
        }
        Operands operands = new Operands(q, k, v, layout.offsets(), 0, layout.heads(), layout.kvHeads());
        Backward call = new Backward(operands, y, logSumExp, dy, delta, dq, dk, dv);
        int shared = sharedBytes(2 * OWN + 2 * OTHERS, operands.width());
        Shape rows = new Shape(Math.ceilDiv(q.rows(), DELTAS), operands.heads, 1, Launches.THREADS, 0);
        device.launch(deltas, rows, call);
        if (dq != null) {
            device.launch(backwardQ.get(operands.width()), blocks(q.rows(), operands.heads, shared), call);
        }
        if (dk != null || dv != null) {
            device.launch(backwardKv.get(operands.width()), blocks(k.rows(), operands.kvHeads, shared), call);
        }
    }

    private static Shape blocks(int rows, int heads, int sharedBytes) {
        return new Shape(Math.ceilDiv(rows, OWN), heads, 1, THREADS, sharedBytes);
    }

    private static int sharedBytes(int rows, int width) {
        return rows * (width + PADDING) * Short.BYTES;
    }
}
