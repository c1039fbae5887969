package io.qlora.cuda;

/** Where a device's machine code comes from. */
public interface CodeSource {

    /**
     * The code of a unit, for the driver to load: a cubin, a fatbin or PTX.
     *
     * @param unit a {@code .cu} file's name without its ending
     */
    byte[] image(String unit);

    /** As in reports: {@code embedded}. */
    String name();
}
