package io.qlora.cuda.driver;

/** A call to CUDA that failed: which one, with what, and what CUDA says of it. */
public final class CudaException extends RuntimeException {

    private static final long serialVersionUID = 1;

    private final String function;
    private final int code;

    /** A call that CUDA answered with an error. {@code call} is the function with the arguments that matter. */
    CudaException(String function, String call, int code, String name, String text) {
        super(call + ": " + name + " (" + code + "), " + text);
        this.function = function;
        this.code = code;
    }

    /** A call that could not be made. */
    CudaException(String function, String reason) {
        super(function + " cannot be called: " + reason);
        this.function = function;
        this.code = -1;
    }

    /** The function, as CUDA's manual calls it. */
    public String function() {
        return function;
    }

    /** CUDA's number of the error; -1 if it was never asked. */
    public int code() {
        return code;
    }

    /** Whether memory has run out. */
    public boolean outOfMemory() {
        return code == CudaDriver.OUT_OF_MEMORY;
    }
}
