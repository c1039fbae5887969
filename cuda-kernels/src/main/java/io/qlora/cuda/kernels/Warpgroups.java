package io.qlora.cuda.kernels;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.driver.CudaException;
import io.qlora.cuda.kernels.CudaMatMul.Factor;
import io.qlora.cuda.kernels.CudaMatMul.Form;
import io.qlora.cuda.kernels.CudaMatMul.Product;
import io.qlora.cuda.kernels.CudaMatMul.Term;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.ops.Attention;
import io.qlora.engine.ops.Uniform;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Tensor;
import io.qlora.nf4.Nf4;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.function.DoubleSupplier;
import java.util.stream.Stream;

/**
 * Whether a card's kernels by {@code wgmma} may be used: on the {@link CudaDevice#warpgroups cards that have them}, once each
 * family of them, products and attention, has given what the kernels by {@code mma.sync} give, on small random operands in every
 * layout. A family that does not is not used on this device, and a warning says so. The result is kept as long as the device.
 */
public final class Warpgroups implements AutoCloseable {

    private static final System.Logger LOG = System.getLogger(Warpgroups.class.getName());

    // Shares of the largest element expected: sums in float32 of the same products; results in bfloat16 of rounded
    // weights.
    private static final double PRODUCTS = 0x1p-8;
    private static final double ATTENTION = 0x1p-6;

    private static final int M = 136; // two tiles, the second nearly empty
    private static final int N = 320;
    private static final int K = 192; // with the second term four steps a tile: the ring goes round
    private static final int RANK = 16;
    private static final int BLOCKS = 2; // so that each has several tiles

    private static final int[] STARTS = {0, 70, 270}; // of documents: more tiles than are in shared memory
    private static final int HEADS = 2;
    private static final float SPREAD = 3; // of queries and keys: some weights are large

    private final CudaDevice device;
    private Boolean multiply; // null: not tried yet
    private Boolean attend;
    private boolean suspended;
    private final List<String> refused = new ArrayList<>();

    private Warpgroups(CudaDevice device) {
        this.device = device;
    }

    /** Those of a device. */
    public static Warpgroups of(CudaDevice device) {
        return device.shared(Warpgroups.class, Warpgroups::new);
    }

    /**
     * Tries what is not tried yet, where there is something to try.
     *
     * @throws IllegalStateException if a kernel failed so that the card takes nothing more from this process
     */
    public void tryAll() {
        if (device.warpgroups()) {
            multiply();
            attend();
        }
    }

    /** Of those tried, which are not used and why, a sentence each. */
    public List<String> refused() {
        return List.copyOf(refused);
    }

    /** Has them not be used until told otherwise: to check the kernels that other cards use. */
    public void suspend(boolean without) {
        suspended = without;
    }

    boolean suspended() {
        return suspended;
    }

    /** Whether products may be computed so. */
    boolean multiply() {
        if (suspended) {
            return false;
        }
        if (multiply == null) {
            multiply = tried("matrix products", this::differenceOfProducts, PRODUCTS);
        }
        return multiply;
    }

    /** Whether attention may be, where it is not suspended. */
    boolean attend() {
        if (attend == null) {
            attend = tried("attention", this::differenceOfAttention, ATTENTION);
        }
        return attend;
    }

    private boolean tried(String what, DoubleSupplier difference, double most) {
        if ("true".equals(System.getProperty("qlora.cuda.wgmma"))) {
            return true;
        }
        String why;
        try {
            double found = difference.getAsDouble();
            if (found <= most) { // not if it is NaN
                return true;
            }
            why = "their results differ from those of mma.sync by " + found + " of the largest element, " + most
                    + " is allowed";
        } catch (CudaException e) {
            requireAlive(what, e);
            why = "they cannot be run: " + e.getMessage();
        }
        refused.add("the wgmma kernels of " + what + " are not used, mma.sync's slower ones are, because " + why);
        LOG.log(System.Logger.Level.WARNING, device.description() + ": " + refused.getLast());
        return false;
    }

    /** After an error in a kernel CUDA takes nothing more from a process, so no other kernel can be used instead. */
    private void requireAlive(String what, CudaException failure) {
        try {
            device.finish();
        } catch (CudaException e) {
            throw new IllegalStateException(
                    device.description() + ": a wgmma kernel of " + what
                            + " failed, start again with -Dqlora.cuda.wgmma=false: " + failure.getMessage(),
                    failure);
        }
    }

    // ---- products ---------------------------------------------------------------------------------------------------

    private double differenceOfProducts() {
        double worst = 0;
        try (ModelMemory memory = new ModelMemory(device);
                TileProduct expected = new TileProduct(device, null)) {
            WarpgroupProduct found = new WarpgroupProduct(device);
            for (Form form : Form.values()) {
                for (boolean nf4 : form == Form.TN ? new boolean[] {false} : new boolean[] {false, true}) {
                    Grad right = new Grad(memory.zeros(DType.F32, M, N), false);
                    Grad tried = new Grad(memory.zeros(DType.F32, M, N), false);
                    expected.launch(product(form, nf4, right, memory));
                    found.launch(product(form, nf4, tried, memory), BLOCKS);
                    worst = Math.max(worst, difference(right.tensor(), tried.tensor()));
                }
            }
        }
        return worst;
    }

    private Product product(Form form, boolean nf4, Grad c, ModelMemory memory) {
        Tensor a = form == Form.TN ? random(memory, DType.BF16, 1, 1, K, M) : random(memory, DType.BF16, 1, 1, M, K);
        Tensor b = form == Form.NT ? random(memory, DType.BF16, 1, 2, N, K) : random(memory, DType.BF16, 1, 2, K, N);
        Tensor a2 =
                form == Form.TN ? random(memory, DType.BF16, 1, 3, RANK, M) : random(memory, DType.BF16, 1, 3, M, RANK);
        Tensor b2 =
                form == Form.NT ? random(memory, DType.F32, 1, 4, N, RANK) : random(memory, DType.F32, 1, 4, RANK, N);
        Factor weight = nf4 ? Factor.of(Nf4.quantize(b, false, memory, device)) : Factor.of(b);
        return new Product(form, new Term(Factor.of(a), weight), 0.5f, new Term(Factor.of(a2), Factor.of(b2)), 4, c);
    }

    // ---- attention --------------------------------------------------------------------------------------------------

    private double differenceOfAttention() {
        double worst = 0;
        for (int size : new int[] {64, 128}) {
            try (ModelMemory memory = new ModelMemory(device)) {
                List<Tensor> expected = attention(new CudaAttention(device, false), size, memory);
                List<Tensor> found = attention(new CudaAttention(device, true), size, memory);
                for (int i = 0; i < expected.size(); i++) {
                    worst = Math.max(worst, difference(expected.get(i), found.get(i)));
                }
            }
        }
        return worst;
    }

    /** y, L, dq, dk and dv. */
    private List<Tensor> attention(CudaAttention kernel, int size, ModelMemory memory) {
        int tokens = STARTS[STARTS.length - 1];
        Tensor offsets = memory.empty(DType.I32, STARTS.length);
        device.write(MemorySegment.ofArray(STARTS), offsets);
        Attention.Layout layout = new Attention.Layout(offsets, tokens, HEADS, 1);
        Tensor q = random(memory, DType.BF16, SPREAD, 5, tokens, HEADS * size);
        Tensor k = random(memory, DType.BF16, SPREAD, 6, tokens, size);
        Tensor v = random(memory, DType.BF16, 1, 7, tokens, size);
        Tensor dy = random(memory, DType.BF16, 1, 8, tokens, HEADS * size);
        Tensor y = memory.zeros(DType.BF16, tokens, (long) HEADS * size);
        Tensor logSumExp = memory.zeros(DType.F32, HEADS, tokens);
        Tensor delta = memory.zeros(DType.F32, HEADS, tokens);
        List<Grad> gradients = Stream.of(q, k, v)
                .map(of -> new Grad(memory.zeros(DType.BF16, of.rows(), of.cols()), false))
                .toList();
        kernel.forward(q, k, v, layout, y, logSumExp);
        kernel.backward(q, k, v, y, logSumExp, dy, layout, delta, gradients.get(0), gradients.get(1), gradients.get(2));
        return Stream.concat(Stream.of(y, logSumExp), gradients.stream().map(Grad::tensor))
                .toList();
    }

    // ---- numbers ----------------------------------------------------------------------------------------------------

    private static Tensor random(ModelMemory memory, DType dtype, float bound, int stream, int rows, int cols) {
        return Uniform.fill(memory.empty(dtype, rows, cols), bound, 1, stream);
    }

    /** The largest difference, as a share of the largest element expected; NaN if there is one. */
    private static double difference(Tensor expected, Tensor found) {
        float[] there = expected.toFloats();
        float[] here = found.toFloats();
        double largest = Float.MIN_NORMAL;
        double difference = 0;
        for (int i = 0; i < there.length; i++) {
            largest = Math.max(largest, Math.abs(there[i]));
            difference = Math.max(difference, Math.abs((double) there[i] - here[i]));
        }
        return difference / largest;
    }

    @Override
    public void close() {} // holds nothing
}
