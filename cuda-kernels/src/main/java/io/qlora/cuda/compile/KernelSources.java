package io.qlora.cuda.compile;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** The kernels' sources, which the jar carries beside the classes that launch them. */
final class KernelSources {

    /** The units: {@code .cu} files by their names. */
    static final List<String> UNITS = List.of(
            "add",
            "attention",
            "attention_backward",
            "cast",
            "cross_entropy",
            "dropout",
            "embedding",
            "few_rows",
            "matmul",
            "matmul_wgmma",
            "nf4",
            "optimizer",
            "rms_norm",
            "rope",
            "swi_glu",
            "uniform");

    private static final Pattern INCLUDE = Pattern.compile("#include \"(\\w+\\.cuh)\"");

    private static final String FOLDER = "/io/qlora/cuda/kernels/";

    private KernelSources() {}

    /** The text of a unit: what is common to all in front of it, and what it includes in the include's place. */
    static String text(String unit) {
        StringBuilder text = new StringBuilder(read("common.cuh"));
        String file = unit + ".cu";
        List<String> lines = read(file).lines().toList();
        text.append(at(1, file));
        for (int i = 0; i < lines.size(); i++) {
            Matcher include = INCLUDE.matcher(lines.get(i));
            if (include.matches()) {
                String name = include.group(1);
                text.append(at(1, name)).append(read(name)).append(at(i + 2, file));
            } else {
                text.append(lines.get(i)).append('\n');
            }
        }
        return text.toString();
    }

    /** Has a compiler call the next line by where it is from. */
    private static String at(int line, String file) {
        return "\n#line " + line + " \"" + file + "\"\n";
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
