package io.qlora.engine.scalar;

import static io.qlora.engine.scalar.Floats.add;
import static io.qlora.engine.scalar.Floats.get;
import static io.qlora.engine.scalar.Floats.index;
import static io.qlora.engine.scalar.Floats.put;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.ops.Attention;
import io.qlora.engine.tensor.Tensor;

/** {@link Attention} as its formula reads, one query and head at a time, sums in double. */
final class ScalarAttention implements Attention.Kernel {

    @Override
    public void forward(Tensor q, Tensor k, Tensor v, Attention.Layout layout, Tensor y, Tensor logSumExp) {
        Tensor offsets = layout.offsets();
        double[] p = new double[layout.longest()];
        for (int s = 0; s < offsets.length() - 1; s++) {
            int start = index(offsets, s);
            for (int t = start; t < index(offsets, s + 1); t++) {
                for (int h = 0; h < layout.heads(); h++) {
                    double log = attend(q, t, k, v, start, t + 1 - start, h, layout.heads(), layout.kvHeads(), p, y);
                    put(logSumExp, (long) h * q.rows() + t, log);
                }
            }
        }
    }

    /**
     * Row {@code t} of head {@code h}, attending to {@code count} keys from row {@code first} on.
     *
     * @param p room for as many weights
     * @return the logarithm of the sum of exponentials
     */
    static double attend(
            Tensor q,
            int t,
            Tensor k,
            Tensor v,
            int first,
            int count,
            int h,
            int heads,
            int kvHeads,
            double[] p,
            Tensor y) {
        int size = q.cols() / heads;
        int column = h / (heads / kvHeads) * size;
        int own = h * size;
        long query = (long) t * q.cols() + own;
        double largest = Double.NEGATIVE_INFINITY;
        for (int u = 0; u < count; u++) {
            long key = (long) (first + u) * k.cols() + column;
            p[u] = dot(q, query, k, key, size) / Math.sqrt(size);
            largest = Math.max(largest, p[u]);
        }
        double sum = 0;
        for (int u = 0; u < count; u++) {
            p[u] = Math.exp(p[u] - largest);
            sum += p[u];
        }
        for (int d = 0; d < size; d++) {
            double mean = 0;
            for (int u = 0; u < count; u++) {
                mean += p[u] / sum * get(v, (long) (first + u) * v.cols() + column + d);
            }
            put(y, query + d, mean);
        }
        return largest + Math.log(sum);
    }

    @Override
    public void backward(
            Tensor q,
            Tensor k,
            Tensor v,
            Tensor y,
            Tensor logSumExp,
            Tensor dy,
            Attention.Layout layout,
            Tensor delta,
            Grad dq,
            Grad dk,
            Grad dv) {
        Tensor offsets = layout.offsets();
        int heads = layout.heads();
        int kvHeads = layout.kvHeads();
        int size = q.cols() / heads;
        for (int s = 0; s < offsets.length() - 1; s++) {
            int start = index(offsets, s);
            int length = index(offsets, s + 1) - start;
            for (int g = 0; g < kvHeads; g++) {
                double[] dKeys = new double[length * size];
                double[] dValues = new double[length * size];
                for (int h = g * (heads / kvHeads); h < (g + 1) * (heads / kvHeads); h++) {
                    int own = h * size;
                    for (int t = start; t < start + length; t++) {
                        long query = (long) t * q.cols() + own;
                        double log = get(logSumExp, (long) h * q.rows() + t);
                        walkBack(q, k, v, y, dy, start, t + 1 - start, query, g * size, size, log, dq, dKeys, dValues);
                    }
                }
                store(dKeys, start, size, g * size, dk);
                store(dValues, start, size, g * size, dv);
            }
        }
    }

    /** One query and head: sets or adds to its {@code dq}, adds to the gradients of the keys and values it has seen. */
    private static void walkBack(
            Tensor q,
            Tensor k,
            Tensor v,
            Tensor y,
            Tensor dy,
            int first,
            int count,
            long query,
            int column,
            int size,
            double log,
            Grad dq,
            double[] dKeys,
            double[] dValues) {
        double scale = 1 / Math.sqrt(size);
        double delta = dot(dy, query, y, query, size);
        double[] dQuery = new double[size];
        for (int u = 0; u < count; u++) {
            long key = (long) (first + u) * k.cols() + column;
            double p = Math.exp(dot(q, query, k, key, size) * scale - log);
            double ds = p * (dot(dy, query, v, key, size) - delta) * scale;
            for (int d = 0; d < size; d++) {
                dQuery[d] += ds * get(k, key + d);
                dKeys[u * size + d] += ds * get(q, query + d);
                dValues[u * size + d] += p * get(dy, query + d);
            }
        }
        for (int d = 0; d < size && dq != null; d++) {
            add(dq, query + d, dQuery[d]);
        }
    }

    private static void store(double[] sums, int first, int size, int column, Grad grad) {
        for (int i = 0; i < sums.length && grad != null; i++) {
            long row = (long) (first + i / size) * grad.tensor().cols();
            add(grad, row + column + i % size, sums[i]);
        }
    }

    private static double dot(Tensor a, long i, Tensor b, long j, int size) {
        double sum = 0;
        for (int d = 0; d < size; d++) {
            sum += (double) get(a, i + d) * get(b, j + d);
        }
        return sum;
    }
}
