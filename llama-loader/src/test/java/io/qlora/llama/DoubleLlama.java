package io.qlora.llama;

import io.qlora.engine.autograd.Parameter;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;

/**
 * A Llama written out in double, loop by loop, from the paper and not from the model under test: what gradients are checked
 * against by differences.
 */
final class DoubleLlama {

    private final LlamaConfig config;
    private final Map<String, double[]> weights = new HashMap<>();

    DoubleLlama(LlamaModel model) {
        this.config = model.config();
        for (Parameter parameter : model.parameters()) {
            float[] values = parameter.value().toFloats();
            double[] copy = new double[values.length];
            for (int i = 0; i < copy.length; i++) {
                copy[i] = values[i];
            }
            weights.put(parameter.name(), copy);
        }
    }

    /** The values of a weight, to be changed. */
    double[] weight(String name) {
        return weights.get(name);
    }

    /** Negative log-likelihood of all tokens of a document but the first, each given those before it. */
    double nll(int... ids) {
        double[][] x = new double[ids.length][];
        double[] embedding = weight("model.embed_tokens.weight");
        int c = config.hiddenSize();
        for (int t = 0; t < ids.length; t++) {
            x[t] = Arrays.copyOfRange(embedding, ids[t] * c, (ids[t] + 1) * c);
        }
        for (int layer = 0; layer < config.numHiddenLayers(); layer++) {
            block("model.layers." + layer + ".", x);
        }
        double[] head = config.tieWordEmbeddings() ? embedding : weight("lm_head.weight");
        double sum = 0;
        for (int t = 0; t + 1 < ids.length; t++) {
            double[] logits = multiply(head, norm("model.norm.weight", x[t]));
            double total = 0;
            for (double logit : logits) {
                total += Math.exp(logit);
            }
            sum += Math.log(total) - logits[ids[t + 1]];
        }
        return sum;
    }

    private void block(String name, double[][] x) {
        int tokens = x.length;
        double[][] q = new double[tokens][];
        double[][] k = new double[tokens][];
        double[][] v = new double[tokens][];
        for (int t = 0; t < tokens; t++) {
            double[] a = norm(name + "input_layernorm.weight", x[t]);
            q[t] = rotate(multiply(weight(name + "self_attn.q_proj.weight"), a), t);
            k[t] = rotate(multiply(weight(name + "self_attn.k_proj.weight"), a), t);
            v[t] = multiply(weight(name + "self_attn.v_proj.weight"), a);
        }
        for (int t = 0; t < tokens; t++) {
            double[] attended = new double[config.queryWidth()];
            for (int h = 0; h < config.numAttentionHeads(); h++) {
                attend(q[t], k, v, t, h, attended);
            }
            add(x[t], multiply(weight(name + "self_attn.o_proj.weight"), attended));
            double[] b = norm(name + "post_attention_layernorm.weight", x[t]);
            double[] gate = multiply(weight(name + "mlp.gate_proj.weight"), b);
            double[] up = multiply(weight(name + "mlp.up_proj.weight"), b);
            for (int f = 0; f < gate.length; f++) {
                gate[f] = gate[f] / (1 + Math.exp(-gate[f])) * up[f];
            }
            add(x[t], multiply(weight(name + "mlp.down_proj.weight"), gate));
        }
    }

    private void attend(double[] q, double[][] k, double[][] v, int t, int head, double[] y) {
        int d = config.headDim();
        int group = head * config.numKeyValueHeads() / config.numAttentionHeads();
        double[] p = new double[t + 1];
        double total = 0;
        for (int u = 0; u <= t; u++) {
            double score = 0;
            for (int j = 0; j < d; j++) {
                score += q[head * d + j] * k[u][group * d + j];
            }
            p[u] = Math.exp(score / Math.sqrt(d));
            total += p[u];
        }
        for (int u = 0; u <= t; u++) {
            for (int j = 0; j < d; j++) {
                y[head * d + j] += p[u] / total * v[u][group * d + j];
            }
        }
    }

    private double[] rotate(double[] x, int position) {
        int d = config.headDim();
        double[] y = new double[x.length];
        for (int i = 0; i < x.length; i++) {
            int j = i % d;
            double angle = position * Math.pow(config.rope().theta(), -2.0 * (j % (d / 2)) / d);
            double other = j < d / 2 ? -x[i + d / 2] : x[i - d / 2];
            y[i] = x[i] * Math.cos(angle) + other * Math.sin(angle);
        }
        return y;
    }

    private double[] norm(String name, double[] x) {
        double squares = 0;
        for (double value : x) {
            squares += value * value;
        }
        double r = 1 / Math.sqrt(squares / x.length + config.rmsNormEps());
        double[] w = weight(name);
        double[] y = new double[x.length];
        for (int i = 0; i < y.length; i++) {
            y[i] = x[i] * r * w[i];
        }
        return y;
    }

    private static double[] multiply(double[] w, double[] x) {
        double[] y = new double[w.length / x.length];
        for (int o = 0; o < y.length; o++) {
            for (int i = 0; i < x.length; i++) {
                y[o] += w[o * x.length + i] * x[i];
            }
        }
        return y;
    }

    private static void add(double[] x, double[] y) {
        for (int i = 0; i < x.length; i++) {
            x[i] += y[i];
        }
    }
}
