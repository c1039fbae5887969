package io.qlora.cuda;

import io.qlora.cuda.driver.CudaException;

/** Where a device's machine code comes from. */
public interface CodeSource {

    /**
     * The code of a unit, for the driver to load: a cubin, a fatbin or PTX.
     *
     * @param unit a {@code .cu} file's name without its ending
     */
    byte[] image(String unit);

    /**
     * Where code comes from that the driver may take when it does not take this.
     *
     * @param refusal what the driver said
     * @throws IllegalStateException if there is none, in a sentence with the way out
     */
    default CodeSource instead(CudaException refusal) {
        throw refusal;
    }

    /** As in reports: {@code embedded}. */
    String name();
}
