package io.qlora.llama;

import io.qlora.engine.ops.Philox;
import io.qlora.engine.tensor.Tensor;
import java.util.Arrays;

/**
 * Fresh weights as transformers initialises a Llama: linears and tables from a normal distribution of mean 0 and standard
 * deviation {@code initializer_range}, normalisations 1. Every element is a function of the seed, the tensor's number and
 * its own, the same on every machine: Philox, then Box and Muller's transform.
 */
final class RandomInit implements TrainableWeights.Values {

    private static final double UNIT = 0x1p-32;

    private final Philox.Key key;
    private final double deviation;
    private int tensors;

    RandomInit(long seed, double deviation) {
        this.key = Philox.Key.of(seed);
        this.deviation = deviation;
    }

    @Override
    public void write(Layout.Spec spec, Tensor target) {
        float[] values = new float[Math.toIntExact(target.size())];
        if (spec.shape().rank() == 1) {
            Arrays.fill(values, 1f);
        } else {
            fill(values, tensors++);
        }
        target.set(values);
    }

    private void fill(float[] values, int tensor) {
        int[] words = new int[4];
        for (int i = 0; i < values.length; i++) {
            if (i % 4 == 0) {
                Philox.block(i / 4, tensor, 0, 0, key, words);
            }
            // Words 0 and 1 give the first pair of normals, words 2 and 3 the second.
            int pair = i & 2;
            double radius = StrictMath.sqrt(-2 * StrictMath.log((unsigned(words[pair]) + 0.5) * UNIT));
            double angle = 2 * Math.PI * unsigned(words[pair + 1]) * UNIT;
            double normal = radius * ((i & 1) == 0 ? StrictMath.cos(angle) : StrictMath.sin(angle));
            values[i] = (float) (deviation * normal);
        }
    }

    private static double unsigned(int word) {
        return word & 0xFFFF_FFFFL;
    }
}
