package io.qlora.engine.tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * A row-major, contiguous array of numbers on a device. Two tensors are equal only if they are the same object: the tape
 * and the gradients are keyed by identity. A tensor does not own its memory; the pool or arena it came from does.
 */
public final class Tensor {

    private final DType dtype;
    private final Shape shape;
    private final Buffer buffer;
    private final Device device;

    /**
     * A tensor over existing memory.
     *
     * @throws IllegalArgumentException if the buffer does not hold exactly the shape's bytes
     */
    public Tensor(DType dtype, Shape shape, Buffer buffer, Device device) {
        long bytes = Math.multiplyExact(shape.size(), dtype.bytes());
        if (buffer.byteSize() != bytes) {
            throw new IllegalArgumentException(
                    dtype + " " + shape + " needs " + bytes + " bytes, the buffer has " + buffer.byteSize());
        }
        this.dtype = dtype;
        this.shape = shape;
        this.buffer = buffer;
        this.device = device;
    }

    public DType dtype() {
        return dtype;
    }

    public Shape shape() {
        return shape;
    }

    public Buffer buffer() {
        return buffer;
    }

    public Device device() {
        return device;
    }

    /** Number of elements. */
    public long size() {
        return shape.size();
    }

    /** Size in bytes. */
    public long byteSize() {
        return buffer.byteSize();
    }

    /** Extent of the innermost dimension; 1 for a scalar. */
    public int cols() {
        return shape.rank() == 0 ? 1 : Math.toIntExact(shape.dim(-1));
    }

    /** Number of rows when all but the innermost dimension are taken together; the length of a vector's only row is its size. */
    public int rows() {
        return shape.rank() <= 1 ? 1 : Math.toIntExact(size() / Math.max(1, shape.dim(-1)));
    }

    /** Length of the outermost dimension; 1 for a scalar. */
    public int length() {
        return shape.rank() == 0 ? 1 : Math.toIntExact(shape.dim(0));
    }

    /**
     * The memory of a host tensor.
     *
     * @throws IllegalStateException if the tensor is on a device whose memory the JVM cannot address
     */
    public MemorySegment segment() {
        if (buffer instanceof HostBuffer host) {
            return host.segment();
        }
        throw new IllegalStateException(this + " is on " + device.name() + ": copy it to the host first");
    }

    /** Another tensor over the same memory: the result of an op that works in place, and so a new node. */
    public Tensor alias() {
        return new Tensor(dtype, shape, buffer, device);
    }

    /** The same memory under another shape of the same size. */
    public Tensor reshape(long... dims) {
        return new Tensor(dtype, Shape.of(dims), buffer, device);
    }

    /** Rows {@code from} to {@code to} (exclusive) of the outermost dimension, over the same memory. */
    public Tensor rows(long from, long to) {
        long[] dims = shape.dims();
        long rowBytes = dims[0] == 0 ? 0 : byteSize() / dims[0];
        if (from < 0 || to < from || to > dims[0]) {
            throw new IndexOutOfBoundsException("rows " + from + " to " + to + " of " + this);
        }
        dims[0] = to - from;
        Buffer part = device.slice(buffer, from * rowBytes, (to - from) * rowBytes);
        return new Tensor(dtype, Shape.of(dims), part, device);
    }

    /** The elements of a floating-point tensor, widened to float32 and copied to the heap (from the device, where elsewhere). */
    public float[] toFloats() {
        Shapes.require(dtype.isFloat(), "toFloats", "tensor", this, "F32, F16 or BF16");
        float[] values = new float[Math.toIntExact(size())];
        if (dtype == DType.F32) {
            device.read(this, MemorySegment.ofArray(values));
            return values;
        }
        short[] halves = new short[values.length];
        device.read(this, MemorySegment.ofArray(halves));
        for (int i = 0; i < values.length; i++) {
            values[i] = dtype == DType.F16 ? Float.float16ToFloat(halves[i]) : Float.intBitsToFloat(halves[i] << 16);
        }
        return values;
    }

    /** The elements of an int32 tensor, copied to the heap (from the device, where that is elsewhere). */
    public int[] toInts() {
        Shapes.require(dtype == DType.I32, "toInts", "tensor", this, "I32");
        int[] values = new int[Math.toIntExact(size())];
        device.read(this, MemorySegment.ofArray(values));
        return values;
    }

    /** Overwrites the elements of a float32 tensor. */
    public Tensor set(float... values) {
        Shapes.require(dtype == DType.F32 && values.length == size(), "set", "tensor", this, "F32 of " + values.length);
        device.write(MemorySegment.ofArray(values), this);
        return this;
    }

    /** Overwrites the elements of an int32 tensor. */
    public Tensor set(int... values) {
        Shapes.require(dtype == DType.I32 && values.length == size(), "set", "tensor", this, "I32 of " + values.length);
        device.write(MemorySegment.ofArray(values), this);
        return this;
    }

    /** The only element of a float32 tensor. */
    public float item() {
        Shapes.require(size() == 1, "item", "tensor", this, "a single element");
        return toFloats()[0];
    }

    /** One element of a host float32 tensor; for tests and reports, not for kernels. */
    public float get(long index) {
        return segment().getAtIndex(ValueLayout.JAVA_FLOAT_UNALIGNED, index);
    }

    /** As in error messages: {@code F32 [2048, 8192]}. */
    @Override
    public String toString() {
        return dtype + " " + shape;
    }
}
