package io.qlora.cuda.compile;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** The kernels' sources, which the jar carries beside the classes that launch them. */
final class KernelSources {

    /** The units: {@code .cu} files by their names. */
    static final List<String> UNITS = List.of(
            "add",
            "attention",
            "cast",
            "cross_entropy",
            "dropout",
            "embedding",
            "matmul",
            "nf4",
            "optimizer",
            "rms_norm",
            "rope",
            "swi_glu");

    private static final String FOLDER = "/io/qlora/cuda/kernels/";

    private KernelSources() {}

    /** The text of a unit, what is common to all in front of it. */
    static String text(String unit) {
        return read("common.cuh") + "\n#line 1 \"" + unit + ".cu\"\n" + read(unit + ".cu");
    }

    private static String read(String file) {
        byte[] bytes = resource(file);
        if (bytes == null) {
            throw new IllegalStateException(
                    "the jar lacks the kernel source " + file + ": it was not built as it should be");
        }
        return new String(bytes, StandardCharsets.UTF_8);
    }

    /** A file beside the sources, or null. */
    static byte[] resource(String file) {
        try (InputStream in = KernelSources.class.getResourceAsStream(FOLDER + file)) {
            return in == null ? null : in.readAllBytes();
        } catch (IOException e) {
            throw new UncheckedIOException("the kernels in the jar cannot be read", e);
        }
    }
}
