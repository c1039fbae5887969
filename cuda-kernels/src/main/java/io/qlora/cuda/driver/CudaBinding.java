package io.qlora.cuda.driver;

import java.util.Arrays;
import java.util.Locale;

/** How calls get from Java to CUDA: what {@code --cuda-binding} chooses from. */
public enum CudaBinding {
    /** The JDK's foreign functions. */
    PANAMA,
    /** JCuda's JNI. */
    JCUDA;

    /**
     * The binding of this name.
     *
     * @throws IllegalArgumentException if there is none
     */
    public static CudaBinding of(String name) {
        return Arrays.stream(values())
                .filter(binding -> binding.toString().equals(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(
                        "--cuda-binding should be one of " + Arrays.toString(values()) + ", found " + name));
    }

    /**
     * The driver by this binding, initialised.
     *
     * @throws CudaException if its library cannot be loaded, or CUDA cannot be initialised
     */
    public CudaDriver open() {
        CudaDriver driver = load();
        try {
            driver.init();
        } catch (LinkageError e) { // a library that is not what its name says
            throw new CudaException("cuInit", CudaProbe.reason(e));
        }
        return driver;
    }

    /**
     * The driver by this binding, initialised, of a machine that has a card of this number that can be used.
     *
     * @throws IllegalStateException in one sentence, if it has none, or the binding's library cannot be loaded
     */
    public CudaDriver open(int ordinal) {
        if (!NativeLibrary.CUDA.available()) { // which the other binding needs, too
            throw new IllegalStateException(CudaProbe.notInstalled().toString());
        }
        CudaDriver driver = load();
        CudaProbe.require(driver, ordinal);
        return driver;
    }

    /**
     * The driver by this binding, of which until {@link CudaDriver#init} only the version may be asked.
     *
     * @throws CudaException if its library cannot be loaded
     */
    CudaDriver load() {
        return switch (this) {
            case PANAMA -> new PanamaDriver();
            case JCUDA -> openJCuda();
        };
    }

    /** A function that JCuda's library does not find when it is called ends the process: those who serve it are asked before. */
    private static CudaDriver openJCuda() {
        if (NativeLibrary.CUDA.available() && NativeLibrary.CUDA.find("cuInit").isEmpty()) {
            throw new CudaException("JCuda", NativeLibrary.CUDA.description() + " is no CUDA driver");
        }
        return JCudaLibrary.load(JCudaDriver::new);
    }

    /** As on the command line. */
    @Override
    public String toString() {
        return name().toLowerCase(Locale.ROOT);
    }
}
