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
import java.util.List;

/**
 * {@link Attention} and {@link CachedAttention} by {@code attention.cu} and {@code attention_backward.cu}. Heads may have up to 256 elements; those of up to 64
 * and 128 are multiplied by {@code wgmma} on the cards that have it.
 */
final class CudaAttention implements Attention.Kernel, CachedAttention.Kernel {

    private static final int ROWS_OF_WARP = 16;
    private static final int DELTAS = 8; // a block
    private static final int FEW = 16; // new tokens that are attended from one by one

    /**
     * A kernel for heads of up to {@code width} elements, as the tables there have it: a block of 16·warps own
     * rows, over tiles of {@code tile} others.
     *
     * @param own tensors of which a block's own rows are in shared memory
     * @param tiles of others that are there
     * @param columns of the result that a block makes
     */
    record Variant(CudaFunction function, int width, int columns, int warps, int tile, int own, int tiles) {

        private static final int VALUES = 4; // of a row of tiles: twice L and Δ of the queries there
        private static final int NARROWEST_ROW = 64; // elements, in shared memory

        Shape shape(int rows, int heads) {
            int rowBytes = Math.max(width, NARROWEST_ROW) * Short.BYTES;
            int sharedBytes = (own * warps * ROWS_OF_WARP + tiles * tile) * rowBytes;
            int rowValues = VALUES * tile * Float.BYTES;
            return new Shape(
                    heads,
                    Math.ceilDiv(rows, warps * ROWS_OF_WARP),
                    width / columns,
                    32 * warps,
                    sharedBytes + rowValues);
        }
    }

    /** Kernels of ascending widths. */
    record Variants(List<Variant> forward, List<Variant> backwardQ, List<Variant> backwardKv) {}

    private final CudaDevice device;
    private final Variants groups;
    private final Variants without;
    private Boolean attend; // by groups; null: not asked for yet
    private final CudaFunction deltas;
    private final CudaFunction one;

    CudaAttention(CudaDevice device) {
        this.device = device;
        this.groups = variants(true);
        this.without = variants(false);
        this.deltas = device.function("attention_backward", "attention_deltas");
        this.one = device.function("attention", "attention_of_one");
    }

    /** With wgmma or without, whatever the card has. */
    CudaAttention(CudaDevice device, boolean groups) {
        this(device);
        this.attend = groups;
    }

    private Variants variants() {
        if (attend == null) {
            attend = device.warpgroups() && Warpgroups.of(device).attend();
        }
        return attend && !Warpgroups.of(device).suspended() ? groups : without;
    }

    Variants variants(boolean groups) {
        List<Variant> forward = List.of(
                variant("forward", false, 32, 32, 4, 32, 1, 4),
                variant("forward", groups, 64, 64, 8, groups ? 128 : 64, 1, 4),
                variant("forward", groups, 128, 128, 8, groups ? 128 : 64, 1, 4),
                variant("forward", false, 256, 256, 4, 32, 1, 4));
        List<Variant> backwardQ = List.of(
                variant("backward_q", false, 32, 32, 4, 32, 2, 4),
                variant("backward_q", groups, 64, 64, 8, 64, 2, groups ? 5 : 4),
                variant("backward_q", groups, 128, 128, 8, groups ? 64 : 32, 2, groups ? 5 : 4),
                variant("backward_q", false, 256, 256, 4, 16, 2, 4));
        List<Variant> backwardKv = List.of(
                variant("backward_kv", false, 32, 32, 4, 32, 2, 4),
                variant("backward_kv", groups, 64, 64, 8, 64, 2, groups ? 6 : 4),
                variant("backward_kv", groups, 128, 128, 8, groups ? 64 : 32, 2, groups ? 6 : 4),
                variant("backward_kv", false, 256, 128, 4, 16, 2, 4));
        return new Variants(forward, backwardQ, backwardKv);
    }

    private Variant variant(
            String name, boolean groups, int width, int columns, int warps, int tile, int own, int tiles) {
        String unit = name.equals("forward") ? "attention" : "attention_backward";
        String function = "attention_" + name + "_" + width + (groups ? "_groups" : "");
        return new Variant(device.function(unit, function), width, columns, warps, tile, own, tiles);
    }

    /** What is attended to: struct AttentionCall's first half. {@code offsets} is null for one document. */
    private record Operands(Tensor q, Tensor k, Tensor v, Tensor offsets, int past, int heads, int kvHeads)
            implements KernelArguments {

        int size() {
            return q.cols() / heads;
        }

        /** The narrowest of the variants that these heads fit in. */
        Variant among(List<Variant> variants) {
            for (Variant variant : variants) {
                if (size() <= variant.width) {
                    return variant;
                }
            }
            throw new IllegalArgumentException("Attention: heads have " + size()
                    + " elements, the CUDA kernels take up to " + variants.getLast().width);
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
            operands.among(variants().forward); // refuses what does not fit
            device.launch(one, new Shape(heads, q.rows(), 1, Launches.THREADS, 0), call);
        }
    }

    private void launchForward(Forward call) {
        Operands operands = call.operands;
        Variant variant = operands.among(variants().forward);
        device.launch(variant.function, variant.shape(operands.q.rows(), operands.heads), call);
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
        Shape rows = new Shape(Math.ceilDiv(q.rows(), DELTAS), operands.heads, 1, Launches.THREADS, 0);
        device.launch(deltas, rows, call);
        if (dq != null) {
            Variant variant = operands.among(variants().backwardQ);
            device.launch(variant.function, variant.shape(q.rows(), operands.heads), call);
        }
        if (dk != null || dv != null) {
            Variant variant = operands.among(variants().backwardKv);
            device.launch(variant.function, variant.shape(k.rows(), operands.kvHeads), call);
        }
    }
}
