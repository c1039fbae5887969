package io.qlora.engine.tensor;

/** A device whose memory does not suffice: how much was asked for, what there is, and what to do. Tensors are as before. */
public final class DeviceMemoryException extends RuntimeException {

    private static final long serialVersionUID = 1;

    /**
     * Memory that could not be had.
     *
     * @param cause what the device said, or null
     */
    public DeviceMemoryException(String message, Throwable cause) {
        super(message, cause);
    }
}
