package io.qlora.cuda.driver;

import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/** What there is of CUDA on this machine, or in one sentence why there is nothing. */
public sealed interface CudaProbe {

    /** The oldest driver: CUDA 11.4, the first whose minor versions run each other's code. */
    int OLDEST_DRIVER = 11040;

    /** The oldest compute capability: Ampere, the first with bfloat16. */
    int OLDEST_CAPABILITY = 80;

    /**
     * A card.
     *
     * @param ordinal its number
     * @param capability compute capability, 10·major + minor
     * @param multiprocessors how many
     * @param memory bytes
     */
    record Card(int ordinal, String name, int capability, int multiprocessors, long memory) {

        boolean fits() {
            return capability >= OLDEST_CAPABILITY;
        }

        @Override
        public String toString() {
            return String.format(Locale.ROOT, "%s, sm_%d, %.0f GiB", name, capability, memory / (double) (1L << 30));
        }
    }

    /**
     * At least one card that can be used.
     *
     * @param old cards that cannot
     * @param driverVersion {@code 1000·major + 10·minor}
     */
    record Found(List<Card> cards, List<Card> old, int driverVersion) implements CudaProbe {

        @Override
        public String summary() {
            return cards.getFirst().name() + more();
        }

        private String more() {
            return cards.size() > 1 ? " and " + (cards.size() - 1) + " more" : "";
        }

        @Override
        public String toString() {
            return cards.getFirst() + more() + ", driver for CUDA " + version(driverVersion);
        }
    }

    /**
     * None.
     *
     * @param what is wrong, in a few words
     * @param reason a sentence without its full stop, with the way out
     */
    record Missing(String what, String reason) implements CudaProbe {

        @Override
        public String summary() {
            return "no GPU: " + what;
        }

        @Override
        public String toString() {
            return "no GPU: " + reason;
        }
    }

    /** In a few words. */
    String summary();

    /** Looks for cards through Panama; never throws. */
    static CudaProbe run() {
        return NativeLibrary.CUDA.available() ? run(new PanamaDriver()) : notInstalled();
    }

    /** Looks for cards through {@code driver}, which need not be initialised; never throws. */
    static CudaProbe run(CudaDriver driver) {
        try {
            int version = driver.driverVersion();
            if (version < OLDEST_DRIVER) {
                return new Missing(
                        "the CUDA driver is too old",
                        "the driver serves CUDA " + version(version) + ", " + version(OLDEST_DRIVER)
                                + " is the oldest that will do: install a newer driver");
            }
            driver.init();
            return cards(driver, version);
        } catch (CudaException e) {
            return e.code() == CudaDriver.NO_DEVICE ? noCard() : new Missing("CUDA does not start", e.getMessage());
        } catch (LinkageError | RuntimeException e) { // a library that is not what its name says
            return new Missing("the CUDA driver cannot be used", "the CUDA driver cannot be used, " + reason(e));
        }
    }

    /** Why the driver's library is none. A function that was missed once is no longer named by what is thrown then. */
    static String reason(Throwable e) {
        Throwable root = e;
        while (root.getCause() != null) {
            root = root.getCause();
        }
        return NativeLibrary.CUDA.description() + ": " + (root.getMessage() == null ? root : root.getMessage());
    }

    /**
     * A card that can be used; initialises the driver.
     *
     * @throws IllegalStateException in one sentence, if it cannot
     */
    static Card require(CudaDriver driver, int ordinal) {
        return switch (run(driver)) {
            case Missing missing -> throw new IllegalStateException(missing.toString());
            case Found found ->
                found.cards.stream()
                        .filter(card -> card.ordinal == ordinal)
                        .findFirst()
                        .orElseThrow(() -> new IllegalStateException("there is no cuda:" + ordinal + " to use, but "
                                + listed(found.cards) + (found.old.isEmpty() ? "" : "; " + tooOld(found.old))));
        };
    }

    private static CudaProbe cards(CudaDriver driver, int version) {
        List<Card> all = IntStream.range(0, driver.deviceCount())
                .mapToObj(i -> card(driver, i))
                .toList();
        if (all.isEmpty()) {
            return noCard();
        }
        Map<Boolean, List<Card>> fit = all.stream().collect(Collectors.partitioningBy(Card::fits));
        return fit.get(true).isEmpty()
                ? new Missing("the card is too old", tooOld(all))
                : new Found(fit.get(true), fit.get(false), version);
    }

    private static Card card(CudaDriver driver, int ordinal) {
        int capability = 10 * driver.attribute(ordinal, Attribute.COMPUTE_MAJOR)
                + driver.attribute(ordinal, Attribute.COMPUTE_MINOR);
        int multiprocessors = driver.attribute(ordinal, Attribute.MULTIPROCESSORS);
        return new Card(ordinal, driver.deviceName(ordinal), capability, multiprocessors, driver.totalMemory(ordinal));
    }

    static Missing notInstalled() {
        return new Missing("no CUDA driver", "the CUDA driver is not installed, " + NativeLibrary.CUDA.description());
    }

    private static Missing noCard() {
        return new Missing("no card", "the driver is there, but it sees no card (is CUDA_VISIBLE_DEVICES set?)");
    }

    private static String tooOld(List<Card> cards) {
        return listed(cards) + ": sm_" + OLDEST_CAPABILITY + " (Ampere) is the oldest that will do";
    }

    private static String listed(List<Card> cards) {
        return cards.stream().map(card -> "cuda:" + card.ordinal + ", " + card).collect(Collectors.joining("; "));
    }

    private static String version(int version) {
        return version / 1000 + "." + version % 1000 / 10;
    }
}
