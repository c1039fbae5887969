package io.qlora.cli;

import io.qlora.llama.LlamaConfig;
import io.qlora.llama.LoadOptions;
import io.qlora.trainer.Evaluation;
import java.nio.file.Path;
import java.util.Locale;

/** How reports say things. */
final class InWords {

    private InWords() {}

    /** The loss of an evaluation, and how sure the model is. */
    static String describe(Evaluation evaluation) {
        return String.format(
                Locale.ROOT,
                "%.4f nats per target token, perplexity %.2f (%,d targets)",
                evaluation.nll(),
                evaluation.perplexity(),
                evaluation.targets());
    }

    /** The last part of a path. */
    static String name(Path path) {
        Path name = path.toAbsolutePath().normalize().getFileName();
        return name == null ? path.toString() : name.toString();
    }

    /** How a model's weights are kept. */
    static String describe(LlamaConfig config, LoadOptions options) {
        if (options.quantization() == LoadOptions.Quantization.NONE) {
            return "linears as stored, in " + config.dtype();
        }
        if (config.bitsAndBytes() != null) {
            return "linears in nf4 as stored";
        }
        return "linears in nf4" + (options.doubleQuant() ? ", double quantised" : "");
    }

    /** As in 1:02:03 or 2:03. */
    static String time(double seconds) {
        long whole = Math.round(seconds);
        return whole >= 3600
                ? String.format(Locale.ROOT, "%d:%02d:%02d", whole / 3600, whole / 60 % 60, whole % 60)
                : String.format(Locale.ROOT, "%d:%02d", whole / 60, whole % 60);
    }

    /** As in 1.5 GiB. */
    static String bytes(double bytes) {
        if (bytes >= 1L << 30) {
            return String.format(Locale.ROOT, "%.2f GiB", bytes / (1L << 30));
        }
        if (bytes >= 1L << 20) {
            return String.format(Locale.ROOT, "%.1f MiB", bytes / (1L << 20));
        }
        return String.format(Locale.ROOT, "%.1f KiB", bytes / (1L << 10));
    }
}
