package io.qlora.llama;

import java.util.Objects;

/**
 * What to make of the weights of a model while it is loaded. The embedding and the output head are never quantised, the
 * normalisations always float32. What is not quantised is kept as it is stored on a processor, and on a card in the type of
 * its activations: bfloat16, as the reference has it.
 *
 * @param quantization what becomes of the blocks' linears; default NF4
 * @param doubleQuant whether NF4's scales are quantised to 8 bits themselves; default true
 * @param trainable whether every weight can be trained: all are then copied to float32, each with a gradient, and nothing
 *     can be quantised; default false
 */
public record LoadOptions(Quantization quantization, boolean doubleQuant, boolean trainable) {

    /** What becomes of a linear's weight. */
    public enum Quantization {
        /** 4-bit NormalFloat in blocks of 64. A checkpoint of bitsandbytes, which is that already, is taken as it is. */
        NF4,
        /** It is not quantised; on a processor it stays mapped. */
        NONE
    }

    public LoadOptions {
        Objects.requireNonNull(quantization);
        if (trainable && quantization != Quantization.NONE) {
            throw new IllegalArgumentException(
                    "trainable weights cannot be quantised, found quantization " + quantization + ": set NONE");
        }
    }

    /** NF4 with double quantisation, frozen: the base of QLoRA. */
    public static LoadOptions defaults() {
        return builder().build();
    }

    /** A builder that has the defaults. */
    public static Builder builder() {
        return new Builder();
    }

    /** Collects the settings of {@link LoadOptions}. */
    public static final class Builder {
        private Quantization quantization = Quantization.NF4;
        private boolean doubleQuant = true;
        private boolean trainable;

        private Builder() {}

        public Builder quantization(Quantization value) {
            quantization = value;
            return this;
        }

        public Builder doubleQuant(boolean value) {
            doubleQuant = value;
            return this;
        }

        public Builder trainable(boolean value) {
            trainable = value;
            return this;
        }

        public LoadOptions build() {
            return new LoadOptions(quantization, doubleQuant, trainable);
        }
    }
}
