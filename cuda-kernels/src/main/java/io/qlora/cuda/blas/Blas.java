package io.qlora.cuda.blas;

import io.qlora.cuda.CudaDevice;
import io.qlora.cuda.driver.CudaBinding;
import io.qlora.cuda.driver.CudaException;
import io.qlora.cuda.driver.JCudaLibrary;
import io.qlora.cuda.driver.NativeLibrary;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Whose dense products a device uses beside this project's own. */
public enum Blas {
    /**
     * What {@code -Dqlora.cuda.blas=cublaslt|jcublas2|none} says, or else what is there: with JCuda's binding JCublas2 first,
     * otherwise cuBLASLt.
     */
    AUTO,
    /** cuBLASLt through its generated bindings. */
    CUBLASLT,
    /** cuBLAS through JCublas2; needs CUDA 12's. */
    JCUBLAS2,
    /** None. */
    NONE;

    private static final System.Logger LOG = System.getLogger(Blas.class.getName());

    /** Memory of the card that a library gets for its algorithms: what NVIDIA recommends for Hopper; less does before. */
    public static final long WORKSPACE = 32L << 20;

    /** What was found. {@code library} is null for nothing; {@code description} then is a sentence that says why. */
    public record Found(GemmLibrary library, String description) {}

    private static Blas ofProperty() {
        String given = System.getProperty("qlora.cuda.blas", "auto");
        for (Blas blas : values()) {
            if (blas.toString().equals(given)) {
                return blas;
            }
        }
        throw new IllegalArgumentException(
                "-Dqlora.cuda.blas should be one of " + List.of(values()) + ", found " + given);
    }

    /**
     * Looks for the library and opens it for a device. Never throws for what is missing or does not work.
     *
     * @throws IllegalArgumentException if the property names none of these
     */
    public Found open(CudaDevice device) {
        List<String> reasons = new ArrayList<>();
        Blas wanted = this == AUTO ? ofProperty() : this;
        for (Blas each : wanted.candidates(device)) {
            try {
                GemmLibrary library =
                        each == JCUBLAS2 ? JCudaLibrary.load(() -> new JCublas2Library(device)) : openCublasLt(device);
                return new Found(library, library.name());
            } catch (CudaException | LinkageError e) { // a library may lack what its name promises
                LOG.log(System.Logger.Level.DEBUG, each + " cannot be used", e);
                reasons.add(
                        each == JCUBLAS2 ? "JCublas2, which needs CUDA 12's cuBLAS, cannot be loaded" : e.getMessage());
            }
        }
        String why = reasons.isEmpty() ? "none was asked for" : String.join("; ", reasons);
        return new Found(null, "this project's own kernels alone, no library of NVIDIA's: " + why);
    }

    private List<Blas> candidates(CudaDevice device) {
        if (this == NONE) {
            return List.of();
        }
        if (this != AUTO) {
            return List.of(this);
        }
        boolean jcuda = device.driver().binding().equals(CudaBinding.JCUDA.toString());
        return jcuda ? List.of(JCUBLAS2, CUBLASLT) : List.of(CUBLASLT, JCUBLAS2);
    }

    private static GemmLibrary openCublasLt(CudaDevice device) {
        if (!NativeLibrary.CUBLAS_LT.available()) { // asked before the first call: see NativeLibrary
            throw new CudaException("cuBLASLt", NativeLibrary.CUBLAS_LT.description());
        }
        return new CublasLt(device);
    }

    /** cuBLAS's number, {@code 10000·major + 100·minor + patch}, as people write it. */
    static String version(long number) {
        return number / 10_000 + "." + number / 100 % 100 + "." + number % 100;
    }

    /** As in the property. */
    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }
}
