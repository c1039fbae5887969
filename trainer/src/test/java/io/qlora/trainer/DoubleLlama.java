package io.qlora.trainer;

import io.qlora.llama.LlamaConfig;
import java.util.List;
import java.util.Map;

/**
 * A Llama with LoRA adapters in double precision, written from the papers' formulas alone and sharing no code with the
 * engine: one document at a time, whole matrices, nothing clever. An oracle for gradients by differences.
 */
final class DoubleLlama {

    private final LlamaConfig config;
    private final Map<String, double[][]> weights; // [out][in] by module, norms as one row
    private final double scale;

    /**
     * A model.
     *
     * @param weights by Hugging Face module, such as {@code model.layers.0.mlp.up_proj}, and {@code <module>.A},
     *     {@code <module>.B} for adapters
     * @param scale of the adapters
     */
    DoubleLlama(LlamaConfig config, Map<String, double[][]> weights, double scale) {
        this.config = config;
        this.weights = weights;
        this.scale = scale;
    }

    /** Mean negative log-likelihood of all tokens but each document's first. */
    double loss(List<int[]> documents) {
        double sum = 0;
        int targets = 0;
        for (int[] ids : documents) {
            double[][] logits = logits(ids);
            for (int t = 1; t < ids.length; t++) {
                sum += logSumExp(logits[t - 1]) - logits[t - 1][ids[t]];
                targets++;
            }
        }
        return sum / targets;
    }

    private double[][] logits(int[] ids) {
        double[][] x = new double[ids.length][];
        for (int t = 0; t < ids.length; t++) {
            x[t] = weights.get("model.embed_tokens")[ids[t]].clone();
        }
        for (int layer = 0; layer < config.numHiddenLayers(); layer++) {
            String name = "model.layers." + layer;
            double[][] a = norm(x, name + ".input_layernorm");
            add(x, linear(attention(a, name + ".self_attn"), name + ".self_attn.o_proj"));
            double[][] b = norm(x, name + ".post_attention_layernorm");
            double[][] gate = linear(b, name + ".mlp.gate_proj");
            double[][] up = linear(b, name + ".mlp.up_proj");
            for (int t = 0; t < x.length; t++) {
                for (int f = 0; f < gate[t].length; f++) {
                    gate[t][f] = gate[t][f] / (1 + Math.exp(-gate[t][f])) * up[t][f];
                }
            }
            add(x, linear(gate, name + ".mlp.down_proj"));
        }
        return linear(norm(x, "model.norm"), "lm_head");
    }

    private double[][] attention(double[][] a, String name) {
        int heads = config.numAttentionHeads();
        int group = heads / config.numKeyValueHeads();
        int d = config.headDim();
        double[][] q = rotated(linear(a, name + ".q_proj"), d);
        double[][] k = rotated(linear(a, name + ".k_proj"), d);
        double[][] v = linear(a, name + ".v_proj");
        double[][] y = new double[a.length][heads * d];
        for (int h = 0; h < heads; h++) {
            int kv = h / group * d;
            for (int t = 0; t < a.length; t++) {
                double[] scores = new double[t + 1];
                for (int s = 0; s <= t; s++) {
                    for (int i = 0; i < d; i++) {
                        scores[s] += q[t][h * d + i] * k[s][kv + i] / Math.sqrt(d);
                    }
                }
                double total = logSumExp(scores);
                for (int s = 0; s <= t; s++) {
                    for (int i = 0; i < d; i++) {
                        y[t][h * d + i] += Math.exp(scores[s] - total) * v[s][kv + i];
                    }
                }
            }
        }
        return y;
    }

    /** Each half pair (i, i + d/2) turned by position · base^(−2i/d). */
    private double[][] rotated(double[][] x, int d) {
        float[] frequencies = config.rope().inverseFrequencies(d);
        double[][] y = new double[x.length][x[0].length];
        for (int t = 0; t < x.length; t++) {
            for (int head = 0; head < x[t].length; head += d) {
                for (int i = 0; i < d / 2; i++) {
                    double angle = t * (double) frequencies[i];
                    double first = x[t][head + i];
                    double second = x[t][head + i + d / 2];
                    y[t][head + i] = first * Math.cos(angle) - second * Math.sin(angle);
                    y[t][head + i + d / 2] = second * Math.cos(angle) + first * Math.sin(angle);
                }
            }
        }
        return y;
    }

    private double[][] linear(double[][] x, String name) {
        double[][] y = times(x, weights.get(name));
        double[][] down = weights.get(name + ".A");
        if (down != null) {
            double[][] added = times(times(x, down), weights.get(name + ".B"));
            for (int t = 0; t < y.length; t++) {
                for (int o = 0; o < y[t].length; o++) {
                    y[t][o] += scale * added[t][o];
                }
            }
        }
        return y;
    }

    /** x · wᵀ. */
    private static double[][] times(double[][] x, double[][] w) {
        double[][] y = new double[x.length][w.length];
        for (int t = 0; t < x.length; t++) {
            for (int o = 0; o < w.length; o++) {
                for (int i = 0; i < x[t].length; i++) {
                    y[t][o] += x[t][i] * w[o][i];
                }
            }
        }
        return y;
    }

    private double[][] norm(double[][] x, String name) {
        double[] w = weights.get(name)[0];
        double[][] y = new double[x.length][w.length];
        for (int t = 0; t < x.length; t++) {
            double mean = 0;
            for (double value : x[t]) {
                mean += value * value / x[t].length;
            }
            for (int c = 0; c < w.length; c++) {
                y[t][c] = x[t][c] / Math.sqrt(mean + config.rmsNormEps()) * w[c];
            }
        }
        return y;
    }

    private static void add(double[][] x, double[][] y) {
        for (int t = 0; t < x.length; t++) {
            for (int c = 0; c < x[t].length; c++) {
                x[t][c] += y[t][c];
            }
        }
    }

    private static double logSumExp(double[] values) {
        double max = Double.NEGATIVE_INFINITY;
        for (double value : values) {
            max = Math.max(max, value);
        }
        double sum = 0;
        for (double value : values) {
            sum += Math.exp(value - max);
        }
        return max + Math.log(sum);
    }
}
