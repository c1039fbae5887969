package io.qlora.cuda.compile;

import io.qlora.cuda.CodeSource;
import io.qlora.cuda.driver.CudaException;
import io.qlora.cuda.driver.NativeLibrary;

/** What {@code nvcc} made when the jar was built: cubins for the usual cards, and PTX for those to come. */
final class EmbeddedCode implements CodeSource {

    private static final System.Logger LOG = System.getLogger(EmbeddedCode.class.getName());

    private final int capability;

    /**
     * Code for one kind of card.
     *
     * @param capability 10·major + minor
     */
    EmbeddedCode(int capability) {
        this.capability = capability;
    }

    /** Whether the build had {@code nvcc}. */
    static boolean available() {
        return KernelSources.UNITS.stream().allMatch(unit -> KernelSources.resource(file(unit)) != null);
    }

    static String file(String unit) {
        return unit + ".fatbin";
    }

    @Override
    public byte[] image(String unit) {
        byte[] image = KernelSources.resource(file(unit));
        if (image == null) {
            throw new IllegalStateException("the jar carries no code of the kernel unit " + unit);
        }
        return image;
    }

    /** An older driver takes no code of a newer CUDA's compiler, but that of its own time's. */
    @Override
    public CodeSource instead(CudaException refusal) {
        String why = "the card's driver does not take the kernels in the jar, which a newer CUDA's nvcc has compiled ("
                + refusal.getMessage() + ")";
        if (!NvrtcCode.available()) {
            throw new IllegalStateException(
                    why + ": install a newer driver, or the NVRTC of the driver's CUDA ("
                            + NativeLibrary.NVRTC.description() + ")",
                    refusal);
        }
        LOG.log(System.Logger.Level.WARNING, why + ": NVRTC compiles them");
        return new NvrtcCode(capability, CodeCache.ofUser(), null);
    }

    @Override
    public String name() {
        return "embedded";
    }
}
