package io.qlora.llama;

import java.util.Objects;

/**
 * How fast each pair of a head's channels turns with the position: rotary position embedding and its scalings.
 *
 * @param theta the base of the frequencies, {@code rope_theta}
 * @param scaling what is done to them for contexts longer than the model was first trained on
 */
public record RopeParameters(double theta, Scaling scaling) {

    /** What is done to the frequencies. */
    public sealed interface Scaling permits None, Linear, Llama3 {}

    /** Nothing: {@code rope_type} "default". */
    public record None() implements Scaling {}

    /**
     * All divided alike: {@code rope_type} "linear".
     *
     * @param factor the divisor
     */
    public record Linear(double factor) implements Scaling {}

    /**
     * The slow ones divided, the fast ones kept, and in between a blend: {@code rope_type} "llama3".
     *
     * @param factor the divisor
     * @param lowFreqFactor wavelengths above {@code originalMaxPositionEmbeddings / lowFreqFactor} are divided
     * @param highFreqFactor wavelengths below {@code originalMaxPositionEmbeddings / highFreqFactor} are kept
     * @param originalMaxPositionEmbeddings the context the model was first trained on, tokens
     */
    public record Llama3(double factor, double lowFreqFactor, double highFreqFactor, int originalMaxPositionEmbeddings)
            implements Scaling {}

    public RopeParameters {
        Objects.requireNonNull(scaling);
    }

    /** Unscaled frequencies of base {@code theta}. */
    public static RopeParameters of(double theta) {
        return new RopeParameters(theta, new None());
    }

    /**
     * Radians per position for each of the {@code headDim / 2} pairs, fastest first. In float32 and in the order of
     * operations of transformers' {@code modeling_rope_utils} as torch carries them out (a number divided by a tensor is
     * the tensor's reciprocal times the number), so that the angles of far positions agree too.
     */
    public float[] inverseFrequencies(int headDim) {
        float[] frequencies = new float[headDim / 2];
        for (int i = 0; i < frequencies.length; i++) {
            float exponent = (float) (2 * i) / headDim;
            frequencies[i] = scale(1f / (float) StrictMath.pow((float) theta, exponent));
        }
        return frequencies;
    }

    private float scale(float frequency) {
        return switch (scaling) {
            case None() -> frequency;
            case Linear(double factor) -> frequency / (float) factor;
            case Llama3 llama3 -> blend(frequency, llama3);
        };
    }

    // _compute_llama3_parameters; scalars are Python's doubles until they meet a tensor.
    private static float blend(float frequency, Llama3 scaling) {
        double context = scaling.originalMaxPositionEmbeddings;
        float factor = (float) scaling.factor;
        float wavelength = 1f / frequency * (float) (2 * Math.PI);
        if (wavelength > (float) (context / scaling.lowFreqFactor)) {
            return frequency / factor;
        }
        if (wavelength < (float) (context / scaling.highFreqFactor)) {
            return frequency;
        }
        float turns = 1f / wavelength * (float) context;
        float smooth =
                (turns - (float) scaling.lowFreqFactor) / (float) (scaling.highFreqFactor - scaling.lowFreqFactor);
        return (1 - smooth) * frequency / factor + smooth * frequency;
    }
}
