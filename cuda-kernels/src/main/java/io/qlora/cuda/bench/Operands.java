package io.qlora.cuda.bench;

import io.qlora.cuda.CudaDevice;
import io.qlora.engine.autograd.Grad;
import io.qlora.engine.memory.ModelMemory;
import io.qlora.engine.tensor.DType;
import io.qlora.engine.tensor.Device;
import io.qlora.engine.tensor.DeviceBuffer;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.nf4.Nf4;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.SplittableRandom;

/**
 * What a kernel works on, on any device: inputs are random, the same for the same name; outputs are full of NaN before, so
 * that what a kernel fails to write shows.
 */
final class Operands implements AutoCloseable {

    private static final int BLOCK = 1 << 20;
    private static final int SHIFTS = 1 << 12; // of a name's numbers among all
    private static final float[] NORMAL = normal();
    private static final byte POISON = (byte) 0xff; // NaN in float32 and bfloat16

    private final Device device;
    private final DType activations;
    private final boolean onTop;
    private final ModelMemory memory;
    private final List<Tensor> results = new ArrayList<>();
    private double bytes;

    /**
     * Operands on a device.
     *
     * @param activations F32, or on a card BF16
     * @param onTop whether gradients are added to some that are there
     */
    Operands(Device device, DType activations, boolean onTop) {
        this.device = device;
        this.activations = activations;
        this.onTop = onTop;
        this.memory = new ModelMemory(device);
    }

    private static float[] normal() {
        SplittableRandom random = new SplittableRandom(1);
        float[] values = new float[BLOCK + SHIFTS];
        for (int i = 0; i < values.length; i++) {
            values[i] = (float) random.nextGaussian();
        }
        return values;
    }

    <K> K kernel(Class<K> contract) {
        return device.kernel(contract);
    }

    ModelMemory memory() {
        return memory;
    }

    DType activations() {
        return activations;
    }

    /** Values that bfloat16 has, in the type of activations: the same numbers on every device. */
    Tensor activation(String name, long... dims) {
        return random(name, activations, true, dims);
    }

    /** A frozen weight in bfloat16. */
    Tensor weight(String name, long... dims) {
        return random(name, DType.BF16, true, dims);
    }

    /** Float32. */
    Tensor floats(String name, long... dims) {
        return random(name, DType.F32, false, dims);
    }

    /** An activation that the kernel reads and writes. */
    Tensor changed(String name, long... dims) {
        Tensor tensor = activation(name, dims);
        bytes += tensor.byteSize();
        return result(tensor);
    }

    Tensor ints(int... values) {
        return count(memory.empty(DType.I32, values.length)).set(values);
    }

    /** A result in the type of activations. */
    Tensor output(long... dims) {
        return output(activations, dims);
    }

    Tensor output(DType dtype, long... dims) {
        Tensor tensor = count(memory.empty(dtype, dims));
        poison(tensor);
        return result(tensor);
    }

    /** A gradient in the type of activations. */
    Grad gradient(String name, long... dims) {
        return onTop ? new Grad(changed(name, dims), true) : new Grad(output(dims), false);
    }

    /** The gradient of a parameter, float32. */
    Grad parameterGradient(String name, long... dims) {
        if (!onTop) {
            return new Grad(output(DType.F32, dims), false);
        }
        Tensor tensor = floats(name, dims);
        bytes += tensor.byteSize();
        return new Grad(result(tensor), true);
    }

    /** A weight in NF4, its scales quantised, too. */
    Nf4Weight nf4(String name, int out, int in) {
        try (ModelMemory passing = new ModelMemory(device)) {
            Tensor source = passing.empty(DType.BF16, out, in);
            fill(source, name, true);
            Nf4Weight weight = Nf4.quantize(source, true, memory, device);
            bytes += weight.byteSize();
            return weight;
        }
    }

    /** Has this tensor be compared. */
    Tensor result(Tensor tensor) {
        results.add(tensor);
        return tensor;
    }

    List<Tensor> results() {
        return results;
    }

    /** Bytes of all operands, those that are read and written counted twice. */
    double bytes() {
        return bytes;
    }

    private Tensor random(String name, DType dtype, boolean rounded, long... dims) {
        Tensor tensor = count(memory.empty(dtype, dims));
        fill(tensor, name, rounded);
        return tensor;
    }

    private Tensor count(Tensor tensor) {
        bytes += tensor.byteSize();
        return tensor;
    }

    /** A block of numbers from the host, over and over. */
    private void fill(Tensor tensor, String name, boolean rounded) {
        int count = (int) Math.min(tensor.size(), BLOCK);
        int from = Math.floorMod(name.hashCode(), SHIFTS);
        Tensor flat = tensor.reshape(tensor.size());
        if (count == 0) {
            return;
        }
        device.write(values(tensor.dtype(), rounded, from, count), flat.rows(0, count));
        for (long at = count; at < tensor.size(); at += count) {
            long part = Math.min(count, tensor.size() - at);
            device.copy(flat.rows(0, part), flat.rows(at, at + part));
        }
    }

    private static MemorySegment values(DType dtype, boolean rounded, int from, int count) {
        short[] halves = new short[count];
        float[] floats = new float[count];
        for (int i = 0; i < count; i++) {
            int bits = Float.floatToRawIntBits(NORMAL[from + i]);
            halves[i] = (short) ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
            floats[i] = rounded ? Float.intBitsToFloat(halves[i] << 16) : NORMAL[from + i];
        }
        return dtype == DType.BF16 ? MemorySegment.ofArray(halves) : MemorySegment.ofArray(floats);
    }

    private void poison(Tensor tensor) {
        if (tensor.byteSize() == 0) {
            return;
        }
        if (device instanceof CudaDevice card) {
            long address = ((DeviceBuffer) tensor.buffer()).address();
            card.driver().fill(address, POISON, tensor.byteSize(), card.stream());
        } else {
            tensor.segment().fill(POISON);
        }
    }

    @Override
    public void close() {
        memory.close();
    }
}
