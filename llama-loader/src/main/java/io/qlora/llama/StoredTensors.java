package io.qlora.llama;

import io.qlora.engine.memory.BumpPool;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.ops.Cast;
import io.qlora.engine.safetensors.MappedTensor;
import io.qlora.engine.safetensors.SafetensorsFile;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.DenseWeight;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.HostBuffer;
import io.qlora.engine.tensor.Shape;
import io.qlora.engine.tensor.Tensor;
import java.io.IOException;
import java.util.List;
import java.util.function.Function;

/**
 * Tensors of files on the device that needs them. Where its memory is the machine's they stay mapped. To another device they
 * are copied, one at a time; what is only passing through shares memory there that is given back on {@link #close}.
 */
final class StoredTensors implements AutoCloseable {

    private static final long PASSING =
            64L << 20; // bytes: of a dense weight at a time, and of the device's memory at least

    private final ModelFiles files;
    private final ModelMemory memory;
    private final Device device;
    private final List<MappedTensor> mapped;
    private BumpPool passing; // null as long as nothing passes

    /**
     * Tensors of these files.
     *
     * @param memory for what is copied to stay
     * @param mapped where to keep what has to stay mapped
     */
    StoredTensors(ModelFiles files, ModelMemory memory, List<MappedTensor> mapped) {
        this.files = files;
        this.memory = memory;
        this.device = memory.device();
        this.mapped = mapped;
    }

    /**
     * In what a device keeps a weight that is stored so and not quantised: as it is where it stays mapped, elsewhere in the
     * type of activations, as whoever loads a model for bfloat16 elsewhere has it.
     */
    static DType dense(DType stored, Device device) {
        return device.onHost() ? stored : device.activations();
    }

    /** A weight that is not quantised. */
    DenseWeight dense(Layout.Spec spec) throws IOException {
        MappedTensor stored = files.map(spec, device);
        if (device.onHost()) {
            mapped.add(stored);
            return new DenseWeight(stored.tensor());
        }
        try (stored) {
            DType dtype = dense(stored.tensor().dtype(), device);
            Tensor weight = memory.empty(dtype, spec.shape().dims());
            if (stored.tensor().dtype() == dtype) {
                device.write(stored.tensor().segment(), weight);
            } else {
                convert(stored.tensor(), weight);
            }
            return new DenseWeight(weight);
        }
    }

    private void convert(Tensor stored, Tensor weight) {
        long rows = Math.max(1, PASSING / Math.max(1, stored.byteSize() / Math.max(1, stored.length())));
        for (long from = 0; from < stored.length(); from += rows) {
            long to = Math.min(stored.length(), from + rows);
            BumpPool.Mark mark = passing().mark();
            Tensor part = copy(stored.rows(from, to));
            device.kernel(Cast.Kernel.class).forward(part, weight.rows(from, to));
            passing.release(mark); // the next part is written behind this one's conversion
        }
    }

    /** What is needed only until a tensor has become a weight is taken from. */
    BumpPool passing() {
        if (passing == null) {
            // In the machine's memory nothing passes but the scales of a weight that is quantised.
            passing = new BumpPool(device, device.onHost() ? device.chunkBytes() : PASSING);
        }
        return passing;
    }

    private Tensor copy(Tensor stored) {
        Tensor copy = passing().empty(stored.dtype(), stored.shape());
        device.write(stored.segment(), copy);
        return copy;
    }

    /** Gives a tensor as it is stored to {@code use}, which must not keep it. */
    <R> R during(Layout.Spec spec, Function<Tensor, R> use) throws IOException {
        try (MappedTensor stored = files.map(spec, device)) {
            if (device.onHost()) {
                return use.apply(stored.tensor());
            }
            BumpPool.Mark mark = passing().mark();
            R result = use.apply(copy(stored.tensor()));
            passing.release(mark);
            return result;
        }
    }

    /** All bytes of a tensor of any type, U8 [n]. */
    Tensor bytes(SafetensorsFile file, String name) throws IOException {
        MappedTensor stored = file.map(name, device);
        Shape shape = Shape.of(stored.tensor().byteSize());
        if (device.onHost()) {
            mapped.add(stored);
            return new Tensor(DType.U8, shape, new HostBuffer(stored.tensor().segment()), device);
        }
        try (stored) {
            Tensor bytes = memory.empty(DType.U8, shape.size());
            device.write(stored.tensor().segment(), bytes);
            return bytes;
        }
    }

    @Override
    public void close() {
        if (passing != null) {
            passing.close();
        }
    }
}
