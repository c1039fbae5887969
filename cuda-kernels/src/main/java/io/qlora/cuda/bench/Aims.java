package io.qlora.cuda.bench;

import java.util.Locale;
import java.util.Map;
import java.util.function.Consumer;

/** What kernels should reach, of the card's ceilings and of the vendor's product of the same shape. */
final class Aims {

    /** The dense product that the vendor's is compared with. */
    static final String TILES = "dense product, our tiles";

    private static final double TERA = 1e12;

    private final double tflopS;
    private final double gbS;
    private final Map<String, Measurement> kernels;
    private final Consumer<Figure> figures;

    /**
     * Aims on a card.
     *
     * @param tflopS rate of its dense product
     * @param gbS its copy bandwidth
     * @param kernels what was measured, by name
     * @param figures takes those for which enough was
     */
    Aims(double tflopS, double gbS, Map<String, Measurement> kernels, Consumer<Figure> figures) {
        this.tflopS = tflopS;
        this.gbS = gbS;
        this.kernels = kernels;
        this.figures = figures;
    }

    /** The dense product through this library. */
    static String vendor(String library) {
        return "dense product, " + library;
    }

    /** Compares; {@code library} is null for none. */
    void compare(String library) {
        Measurement vendor = kernels.get(vendor(library));
        ratio(0.92, "NF4 linear forward against the vendor's dense product", vendor, kernels.get(ProductCases.NF4));
        ratio(0.7, "our dense product against the vendor's", vendor, kernels.get(TILES));
        share(0.8, "NF4 + DQ to bf16, of copy bandwidth", kernels.get(Nf4Cases.DECODE));
        share(0.7, "NF4 product of one row, of copy bandwidth", kernels.get(ProductCases.NF4_ROW));
        attention(kernels.get(AttentionCases.FORWARD), kernels.get(AttentionCases.BACKWARD));
    }

    private void ratio(double aim, String name, Measurement vendor, Measurement ours) {
        if (vendor != null && ours != null && ours.micros() > 0) {
            figures.accept(Figure.atLeast(aim, name, vendor.micros() / ours.micros(), "ratio", ""));
        }
    }

    private void share(double aim, String name, Measurement measurement) {
        if (measurement != null && gbS > 0) {
            figures.accept(Figure.atLeast(aim, name, measurement.gbS() / gbS, "share", ""));
        }
    }

    private void attention(Measurement forward, Measurement backward) {
        if (forward != null && backward != null && tflopS > 0) {
            double seconds = 1e-6 * (forward.micros() + backward.micros());
            double reached = 1e9 * (forward.gflop() + backward.gflop()) / seconds / TERA;
            String note = String.format(Locale.ROOT, "%.1f TFLOP/s, masked pairs not counted", reached);
            figures.accept(Figure.atLeast(
                    0.5, "attention forward and backward, of the dense rate", reached / tflopS, "share", note));
        }
    }
}
