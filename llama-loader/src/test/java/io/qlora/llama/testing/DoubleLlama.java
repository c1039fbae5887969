package io.qlora.llama.testing;

import io.qlora.engine.autograd.Parameter;
import io.qlora.engine.autograd.Parameters;
import io.qlora.engine.tensor.Tensor;
import io.qlora.llama.LlamaConfig;
import io.qlora.llama.LlamaModel;
import java.util.HashMap;
import java.util.Map;

/**
 * A Llama, with adapters if need be, in double precision, written from the papers' formulas alone and sharing no code with
 * the model under test: one document at a time, whole matrices, nothing clever. An oracle for gradients by differences.
 */
public final class DoubleLlama {

    private static final double STEP = 1e-5; // of differences

    private final LlamaConfig config;
    private final Map<String, double[][]> weights = new HashMap<>(); // [out][in] by key, norms as one row
    private double scale; // of the adapters

    /** With the weights of a model, all of which are trainable. */
    public DoubleLlama(LlamaModel model) {
        this.config = model.config();
        put(model.parameters());
    }

    /**
     * Adds low-rank adapters.
     *
     * @param adapters by PEFT's names
     * @param scale of all of them
     */
    public DoubleLlama adapted(Parameters adapters, double scale) {
        put(adapters);
        this.scale = scale;
        return this;
    }

    private void put(Parameters parameters) {
        parameters.forEach(parameter -> weights.put(key(parameter.name()), matrix(parameter.value())));
    }

    /** base_model.model.model.layers.0.mlp.up_proj.lora_A.weight → model.layers.0.mlp.up_proj.lora_A */
    private static String key(String name) {
        return name.replaceFirst("^base_model\\.model\\.", "").replaceFirst("\\.weight$", "");
    }

    private static double[][] matrix(Tensor tensor) {
        float[] values = tensor.toFloats();
        double[][] matrix = new double[tensor.rows()][tensor.cols()];
        for (int i = 0; i < values.length; i++) {
            matrix[i / tensor.cols()][i % tensor.cols()] = values[i];
        }
        return matrix;
    }

    /** Negative log-likelihood of all tokens but each document's first, summed. */
    public double nll(int[]... documents) {
        double sum = 0;
        for (int[] ids : documents) {
            double[][] logits = logits(ids);
            for (int t = 1; t < ids.length; t++) {
                sum += logSumExp(logits[t - 1]) - logits[t - 1][ids[t]];
            }
        }
        return sum;
    }

    /** The gradient of {@link #nll} with respect to a parameter, by central differences. */
    public double[] gradient(Parameter parameter, int[]... documents) {
        double[][] matrix = weights.get(key(parameter.name()));
        int columns = matrix[0].length;
        double[] gradient = new double[matrix.length * columns];
        for (int i = 0; i < gradient.length; i++) {
            double[] row = matrix[i / columns];
            int c = i % columns;
            double value = row[c];
            row[c] = value + STEP;
            double above = nll(documents);
            row[c] = value - STEP;
            double below = nll(documents);
            row[c] = value;
            gradient[i] = (above - below) / (2 * STEP);
        }
        return gradient;
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
        return linear(norm(x, "model.norm"), config.tieWordEmbeddings() ? "model.embed_tokens" : "lm_head");
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

    /** Each half pair (i, i + d/2) turned by position · theta^(−2i/d). */
    private double[][] rotated(double[][] x, int d) {
        double[][] y = new double[x.length][x[0].length];
        for (int t = 0; t < x.length; t++) {
            for (int head = 0; head < x[t].length; head += d) {
                for (int i = 0; i < d / 2; i++) {
                    double angle = t * Math.pow(config.rope().theta(), -2.0 * i / d);
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
        double[][] down = weights.get(name + ".lora_A");
        if (down != null) {
            double[][] added = times(times(x, down), weights.get(name + ".lora_B"));
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
