package io.qlora.engine.memory;

import io.qlora.engine.tensor.Device;

/**
 * Memory as long as a step: activations and what ops save, in a stack; gradients, which die in another order, beside
 * it. Made once, used for every step: a step leaves it as it found it, which {@link #requireEmpty} checks.
 */
public final class StepMemory implements AutoCloseable {

    private static final long CHUNK = 8L << 20;

    private final Device device;
    private final BumpPool activations;
    private final BlockPool gradients;

    public StepMemory(Device device) {
        this.device = device;
        this.activations = new BumpPool(device, CHUNK);
        this.gradients = new BlockPool(device, CHUNK);
    }

    public Device device() {
        return device;
    }

    /** Activations, saved tensors, scratch. */
    public BumpPool activations() {
        return activations;
    }

    /** Gradients of activations. */
    public BlockPool gradients() {
        return gradients;
    }

    /** The most that was in use, bytes: the sum of both pools' peaks. */
    public long peak() {
        return activations.peak() + gradients.peak();
    }

    /** Bytes taken from the device. */
    public long capacity() {
        return activations.capacity() + gradients.capacity();
    }

    /**
     * Checks that the last step gave everything back.
     *
     * @throws IllegalStateException with the number of bytes that are left
     */
    public void requireEmpty() {
        if (activations.used() != 0 || gradients.used() != 0) {
            throw new IllegalStateException("after the step " + activations.used() + " bytes of activations and "
                    + gradients.used() + " bytes of gradients were left");
        }
    }

    @Override
    public void close() {
        activations.close();
        gradients.close();
    }
}
