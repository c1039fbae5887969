package io.qlora.cuda.driver;

import java.util.Set;

/** A call to CUDA that failed: which one, with what, and what CUDA says of it. */
public final class CudaException extends IllegalStateException {

    private static final long serialVersionUID = 1;

    /** Invalid image, no binary for the card, invalid PTX, no compiler of PTX, PTX of an unsupported version. */
    private static final Set<Integer> CODE_REFUSED = Set.of(200, 209, 218, 221, 222);

    /**
     * Illegal address, time-out, then assertion, hardware's stack, instruction, alignment, address space, program counter, and any
     * other exception: told by whatever is called next.
     */
    private static final Set<Integer> KERNEL_FAILED = Set.of(700, 702, 710, 714, 715, 716, 717, 718, 719);

    private final String function;
    private final int code;

    private CudaException(String message, String function, int code) {
        super(message);
        this.function = function;
        this.code = code;
    }

    /** A call that could not be made, and why. */
    public CudaException(String function, String reason) {
        this(function + " cannot be called: " + reason, function, -1);
    }

    /**
     * A call that CUDA answered with an error.
     *
     * @param name CUDA's name of the error, {@code CUDA_ERROR_INVALID_VALUE}
     * @param text what CUDA says of it
     * @param arguments those that matter: name, value, name, value …
     */
    public static CudaException of(String function, int code, String name, String text, Object... arguments) {
        StringBuilder message = new StringBuilder(function).append('(');
        for (int i = 0; i < arguments.length; i += 2) {
            message.append(i == 0 ? "" : ", ")
                    .append(arguments[i])
                    .append(" = ")
                    .append(arguments[i + 1]);
        }
        message.append("): ")
                .append(name)
                .append(" (")
                .append(code)
                .append("), ")
                .append(text);
        if (KERNEL_FAILED.contains(code) && !Boolean.getBoolean("qlora.cuda.check")) {
            message.append("; a kernel that was begun before has failed, -Dqlora.cuda.check=true names it");
        }
        return new CudaException(message.toString(), function, code);
    }

    /** The function, as CUDA's manual calls it. */
    public String function() {
        return function;
    }

    /** CUDA's number of the error; -1 if it was never asked. */
    public int code() {
        return code;
    }

    /** Whether the driver does not take a module's code: it is for another card, or of a newer CUDA than the driver's. */
    public boolean codeRefused() {
        return CODE_REFUSED.contains(code);
    }

    /** Whether memory has run out. */
    public boolean outOfMemory() {
        return code == CudaDriver.OUT_OF_MEMORY;
    }
}
