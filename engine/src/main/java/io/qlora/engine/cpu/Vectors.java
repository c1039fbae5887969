package io.qlora.engine.cpu;

/** Whether the Vector API can be used here. Safe to load where it cannot. */
public final class Vectors {

    /** The flag that makes the vector kernels available. */
    public static final String FLAG = "--add-modules jdk.incubator.vector";

    private static final boolean AVAILABLE =
            ModuleLayer.boot().findModule("jdk.incubator.vector").isPresent();

    static {
        if (!AVAILABLE) {
            System.getLogger("io.qlora.engine")
                    .log(
                            System.Logger.Level.WARNING,
                            "The Vector API is not available: computing with scalar kernels, many times slower. Start java with "
                                    + FLAG);
        }
    }

    private Vectors() {}

    /** Whether the module {@code jdk.incubator.vector} is there. When it is not, one warning has been logged. */
    public static boolean available() {
        return AVAILABLE;
    }
}
