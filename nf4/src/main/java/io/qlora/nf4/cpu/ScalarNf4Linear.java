package io.qlora.nf4.cpu;

import static io.qlora.engine.scalar.Floats.add;
import static io.qlora.engine.scalar.Floats.get;
import static io.qlora.engine.scalar.Floats.put;

import io.qlora.engine.autograd.Grad;
import io.qlora.engine.cpu.Workers;
import io.qlora.engine.tensor.Nf4Weight;
import io.qlora.engine.tensor.Tensor;
import io.qlora.nf4.Nf4Linear;

/** {@link Nf4Linear} as its formula reads, sums in double, a row or a block of columns decoded at a time. */
final class ScalarNf4Linear implements Nf4Linear.Kernel {

    private static final int COLUMNS = 64; // of dx, a task

    private final Workers workers;

    ScalarNf4Linear(Workers workers) {
        this.workers = workers;
    }

    @Override
    public void forward(Tensor x, Nf4Weight w, Tensor y) {
        Nf4Reader reader = new Nf4Reader(w);
        workers.run(reader.out, o -> {
            float[] row = new float[reader.in];
            reader.decode((long) o * reader.in, reader.in, row, 0);
            for (long t = 0; t < x.rows(); t++) {
                double sum = 0;
                for (int i = 0; i < reader.in; i++) {
                    sum += (double) get(x, t * reader.in + i) * row[i];
                }
                put(y, t * reader.out + o, sum);
            }
        });
    }

    @Override
    public void backward(Nf4Weight w, Tensor dy, Grad dx) {
        Nf4Reader reader = new Nf4Reader(w);
        workers.run(Math.ceilDiv(reader.in, COLUMNS), task -> {
            int from = task * COLUMNS;
            int count = Math.min(COLUMNS, reader.in - from);
            float[] row = new float[count];
            double[][] sums = new double[dy.rows()][count];
            for (int o = 0; o < reader.out; o++) {
                reader.decode((long) o * reader.in + from, count, row, 0);
                for (int t = 0; t < sums.length; t++) {
                    double gradient = get(dy, (long) t * reader.out + o);
                    for (int i = 0; i < count; i++) {
                        sums[t][i] += gradient * row[i];
                    }
                }
            }
            for (int t = 0; t < sums.length; t++) {
                for (int i = 0; i < count; i++) {
                    add(dx, (long) t * reader.in + from + i, sums[t][i]);
                }
            }
        });
    }
}
