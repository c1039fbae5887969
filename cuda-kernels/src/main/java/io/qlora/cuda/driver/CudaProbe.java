package io.qlora.cuda.driver;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** What there is of CUDA on this machine, or in one sentence why there is nothing: never throws. */
public sealed interface CudaProbe {

    /** The oldest driver: CUDA 11.4, the first whose minor versions run each other's code. */
    int OLDEST_DRIVER = 11040;

    /** The oldest compute capability: Ampere, the first with bfloat16. */
    int OLDEST_CAPABILITY = 80;

    /**
     * A card that can be used.
     *
     * @param ordinal its number
     * @param capability compute capability, 10·major + minor
     * @param multiprocessors how many
     * @param memory bytes
     */
    record Card(int ordinal, String name, int capability, int multiprocessors, long memory) {

        @Override
        public String toString() {
            return String.format(Locale.ROOT, "%s, sm_%d, %.0f GiB", name, capability, memory / (double) (1L << 30));
        }
    }

    /**
     * At least one card.
     *
     * @param driverVersion {@code 1000·major + 10·minor}
     */
    record Found(List<Card> cards, int driverVersion) implements CudaProbe {

        @Override
        public String toString() {
            return cards.getFirst() + (cards.size() > 1 ? " and " + (cards.size() - 1) + " more" : "")
                    + ", driver for CUDA " + version(driverVersion);
        }
    }

    /** None. {@code reason} is a sentence without its full stop. */
    record Missing(String reason) implements CudaProbe {

        @Override
        public String toString() {
            return "no GPU: " + reason;
        }
    }

    /** Looks for cards through Panama. */
    static CudaProbe run() {
        if (!NativeLibrary.CUDA.available()) {
            return new Missing("the CUDA driver is not installed, " + NativeLibrary.CUDA.description());
        }
        return run(new PanamaDriver());
    }

    /** Looks for cards through {@code driver}, which need not be initialised. */
    static CudaProbe run(CudaDriver driver) {
        try {
            int version = driver.driverVersion();
            if (version < OLDEST_DRIVER) {
                return new Missing("the driver serves CUDA " + version(version) + ", " + version(OLDEST_DRIVER)
                        + " is the oldest that will do: install a newer driver");
            }
            driver.init();
            return cards(driver, version);
        } catch (CudaException e) {
            return new Missing(e.getMessage());
        } catch (LinkageError | RuntimeException e) { // a library that is not what its name says
            return new Missing("the CUDA driver " + NativeLibrary.CUDA.description() + " cannot be used, " + e);
        }
    }

    private static CudaProbe cards(CudaDriver driver, int version) {
        List<Card> cards = new ArrayList<>();
        List<String> old = new ArrayList<>();
        int count = driver.deviceCount();
        for (int i = 0; i < count; i++) {
            int capability =
                    10 * driver.attribute(i, Attribute.COMPUTE_MAJOR) + driver.attribute(i, Attribute.COMPUTE_MINOR);
            Card card = new Card(
                    i,
                    driver.deviceName(i),
                    capability,
                    driver.attribute(i, Attribute.MULTIPROCESSORS),
                    driver.totalMemory(i));
            if (capability < OLDEST_CAPABILITY) {
                old.add(card.toString());
            } else {
                cards.add(card);
            }
        }
        if (!cards.isEmpty()) {
            return new Found(List.copyOf(cards), version);
        }
        return new Missing(
                old.isEmpty()
                        ? "the driver is there, but it sees no card (is CUDA_VISIBLE_DEVICES set?)"
                        : String.join("; ", old) + ": sm_" + OLDEST_CAPABILITY
                                + " (Ampere) is the oldest that will do");
    }

    private static String version(int version) {
        return version / 1000 + "." + version % 1000 / 10;
    }
}
