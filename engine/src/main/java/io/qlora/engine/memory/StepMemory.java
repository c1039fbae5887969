package io.qlora.engine.memory;

import io.qlora.engine.tensor.Device;

/**
 * Memory as long as a step: activations and what ops save, in a stack; gradients, which die in another order, beside
 * it. Made once, used for every step: a step leaves it as it found it, which {@link #requireEmpty} checks.
 */
public final class StepMemory implements AutoCloseable {

    private static final long HOST_CHUNK = 8L << 20;

    /**
     * What steps take, bytes.
     *
     * @param activations of the device, in a stack
     * @param gradients of the device
     * @param host of the machine, beside a card
     */
    public record Sizes(long activations, long gradients, long host) {

        /** What they take of the device. */
        public long onDevice() {
            return activations + gradients;
        }
    }

    private final Device device;
    private final BumpPool activations;
    private final BlockPool gradients;
    private BumpPool host; // null as long as nobody needs it

    public StepMemory(Device device) {
        this.device = device;
        this.activations = new BumpPool(device, device.chunkBytes());
        this.gradients = new BlockPool(device, device.chunkBytes());
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

    /**
     * What the device has no room for: a stack in the machine's memory.
     *
     * @throws UnsupportedOperationException if the device computes in the machine's memory itself
     */
    public BumpPool host() {
        if (host == null) {
            host = new BumpPool(device, device::newHostArena, HOST_CHUNK);
        }
        return host;
    }

    /** What the largest of the steps so far take, each kind in one piece: told by a rehearsal on a {@link PlanningDevice}. */
    public Sizes needed() {
        return new Sizes(activations.peak(), gradients.end(), host == null ? 0 : host.peak());
    }

    /**
     * Takes that at once, before the first step: steps of other sizes, one larger than the other, would leave more over between
     * their pieces than the largest of them needs.
     *
     * @throws io.qlora.engine.tensor.DeviceMemoryException if it is not to be had
     */
    public void reserve(Sizes sizes) {
        activations.reserve(sizes.activations());
        gradients.reserve(sizes.gradients());
        if (sizes.host() > 0) {
            host().reserve(sizes.host());
        }
    }

    /** The most that was in use, bytes: the sum of both pools' peaks. */
    public long peak() {
        return activations.peak() + gradients.peak();
    }

    /** Bytes taken from the device. */
    public long capacity() {
        return activations.capacity() + gradients.capacity();
    }

    /** Bytes taken from the machine beside that. */
    public long hostCapacity() {
        return host == null ? 0 : host.capacity();
    }

    /**
     * Checks that the last step gave everything back.
     *
     * @throws IllegalStateException with the number of bytes that are left
     */
    public void requireEmpty() {
        long offloaded = host == null ? 0 : host.used();
        if (activations.used() != 0 || gradients.used() != 0 || offloaded != 0) {
            throw new IllegalStateException("after the step " + activations.used() + " bytes of activations, "
                    + gradients.used() + " bytes of gradients and " + offloaded
                    + " bytes in the machine's memory were left");
        }
    }

    @Override
    public void close() {
        activations.close();
        gradients.close();
        if (host != null) {
            host.close();
        }
    }
}
