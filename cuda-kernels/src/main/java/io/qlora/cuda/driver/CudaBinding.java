package io.qlora.cuda.driver;

import java.util.Locale;

/** How calls get from Java to CUDA: what {@code --cuda-binding} chooses from. */
public enum CudaBinding {
    /** The JDK's foreign functions. */
    PANAMA,
    /** JCuda's JNI. */
    JCUDA;

    /**
     * The driver by this binding, initialised.
     *
     * @throws CudaException if its library cannot be loaded, or CUDA cannot be initialised
     */
    public CudaDriver open() {
        CudaDriver driver = this == PANAMA ? new PanamaDriver() : openJCuda();
        driver.init();
        return driver;
    }

    private static CudaDriver openJCuda() {
        try {
            return new JCudaDriver();
        } catch (LinkageError e) { // JCuda's jar, its native library, or the libcuda it needs
            String why = e.getMessage() == null
                    ? e.toString()
                    : e.getMessage().lines().findFirst().orElse("");
            throw new CudaException(
                    "JCuda", "its library could not be loaded (" + why.strip() + "); --cuda-binding panama needs none");
        }
    }

    /** As on the command line. */
    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }
}
