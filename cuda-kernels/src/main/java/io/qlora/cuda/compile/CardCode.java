package io.qlora.cuda.compile;

import io.qlora.cuda.CodeSource;
import io.qlora.cuda.driver.NativeLibrary;
import java.util.Set;

/** Chooses where a card's code comes from: a card, a driver and a jar are enough where the jar was built with nvcc. */
public final class CardCode {

    /** The compute capabilities that {@link NvccBuild} makes cubins for. */
    static final Set<Integer> BUILT = Set.of(80, 86, 89, 90, 100, 120);

    private CardCode() {}

    /**
     * The code for a card: what the jar carries, if that was made for it; or else by NVRTC, if it is there; or else the PTX
     * that the jar carries, which the driver compiles.
     *
     * @param capability 10·major + minor
     * @throws IllegalStateException if there is neither
     */
    public static CodeSource of(int capability) {
        return of(capability, EmbeddedCode.available());
    }

    /** As above, for a jar that was built with nvcc or without. */
    static CodeSource of(int capability, boolean embedded) {
        if (embedded && BUILT.contains(capability)) {
            return new EmbeddedCode(capability);
        }
        String why;
        try {
            if (NvrtcCode.available()) {
                return new NvrtcCode(capability, CodeCache.ofUser(), embedded ? new EmbeddedCode(capability) : null);
            }
            why = NativeLibrary.NVRTC.description();
        } catch (LinkageError | IllegalStateException e) { // a library that is not what its name says
            why = NativeLibrary.NVRTC.description() + " cannot be used, " + e.getMessage();
        }
        if (embedded) {
            return new EmbeddedCode(capability);
        }
        throw new IllegalStateException(
                "there is no machine code of the CUDA kernels: this jar was built without nvcc, and " + why
                        + "; install CUDA's NVRTC, or use a jar that was built with nvcc");
    }
}
