package io.qlora.cuda;

/** A card whose memory does not suffice: how much was asked for, what there is, and what to do. */
public final class CudaMemoryException extends RuntimeException {

    private static final long serialVersionUID = 1;

    CudaMemoryException(String message, Throwable cause) {
        super(message, cause);
    }
}
