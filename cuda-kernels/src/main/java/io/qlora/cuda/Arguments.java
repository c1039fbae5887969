package io.qlora.cuda;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.tensor.DeviceBuffer;
import io.qlora.engine.tensor.Tensor;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * The block of native memory that a launch's arguments are written into, one after the other in the order of the kernel's
 * parameters. Made once a device: eight bytes an argument, and the addresses of these, which never change.
 */
public final class Arguments {

    private static final int MOST = 32;

    private final MemorySegment values;
    private final MemorySegment addresses;
    private int count;

    Arguments(Arena arena) {
        values = arena.allocate(8L * MOST, 8);
        addresses = arena.allocate(8L * MOST, 8);
        for (int i = 0; i < MOST; i++) {
            addresses.setAtIndex(ValueLayout.JAVA_LONG, i, values.address() + 8L * i);
        }
    }

    /** A pointer to a tensor of this device, or the null pointer. */
    public Arguments pointer(Tensor tensor) {
        return pointer(tensor == null ? 0 : address(tensor));
    }

    /** A pointer. */
    public Arguments pointer(long address) {
        values.setAtIndex(ValueLayout.JAVA_LONG, count++, address);
        return this;
    }

    /** A gradient: two arguments, a pointer, null if it is not wanted, and an int, whether to add. */
    public Arguments gradient(Grad grad) {
        return pointer(grad == null ? null : grad.tensor()).integer(grad != null && grad.accumulate() ? 1 : 0);
    }

    /** An int or an unsigned int. */
    public Arguments integer(int value) {
        values.setAtIndex(ValueLayout.JAVA_INT, 2L * count++, value);
        return this;
    }

    /** A 64-bit integer. */
    public Arguments longInteger(long value) {
        values.setAtIndex(ValueLayout.JAVA_LONG, count++, value);
        return this;
    }

    /** A float. */
    public Arguments real(float value) {
        values.setAtIndex(ValueLayout.JAVA_FLOAT, 2L * count++, value);
        return this;
    }

    /** A double. */
    public Arguments doubleReal(double value) {
        values.setAtIndex(ValueLayout.JAVA_DOUBLE, count++, value);
        return this;
    }

    /** The addresses of what {@code arguments} writes. */
    MemorySegment write(KernelArguments arguments) {
        count = 0;
        arguments.write(this);
        return addresses;
    }

    /** The address of a tensor in device memory. */
    static long address(Tensor tensor) {
        if (tensor.buffer() instanceof DeviceBuffer buffer) {
            return buffer.address();
        }
        throw new IllegalArgumentException(tensor + " is on " + tensor.device().name() + ": copy it to the card first");
    }
}
