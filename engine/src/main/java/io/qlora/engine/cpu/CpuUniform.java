package io.qlora.engine.cpu;

import io.qlora.engine.ops.Philox;
import io.qlora.engine.ops.Uniform;
import io.qlora.engine.scalar.Floats;
import io.qlora.engine.tensor.Tensor;

/** {@link Uniform}, its words in vectors, pieces over all cores. */
final class CpuUniform implements Uniform.Kernel {

    private static final ThreadLocal<PanelScratch> SCRATCH = ThreadLocal.withInitial(PanelScratch::new);

    private final Workers workers;

    CpuUniform(Workers workers) {
        this.workers = workers;
    }

    @Override
    public void fill(Tensor x, float bound, Philox.Key key, int stream) {
        workers.run(Math.toIntExact(Math.ceilDiv(x.size(), (long) Uniform.PIECE)), piece -> {
            long first = (long) piece * Uniform.PIECE;
            int count = (int) Math.min(Uniform.PIECE, x.size() - first);
            int[] words = SCRATCH.get().ints(Uniform.PIECE);
            CpuPhilox.fill(piece, stream, Uniform.DOMAIN, key, words, count);
            for (int j = 0; j < count; j++) {
                Floats.round(x, first + j, ((words[j] >> 8) * 0x1p-23f) * bound);
            }
        });
    }
}
