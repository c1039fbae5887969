package io.qlora.engine.cpu;

/**
 * The right-hand side of the matrix product, {@code [depth, width]}, handed out in panels: {@code depth} runs along the
 * sum, {@code width} along the columns of the result. A weight {@code W [out, in]} gives {@code x·Wᵀ} as a source of depth
 * {@code in} and width {@code out}, and {@code dy·W} as one of depth {@code out} and width {@code in}. The source decodes
 * while it packs, so a quantised matrix never stands whole in memory.
 */
public interface PanelSource extends AutoCloseable {

    /** Length of the sum. */
    int depth();

    /** Number of columns. */
    int width();

    /** Number of pieces of the work to be done before the first panel is packed. None, unless it says so. */
    default int preparations() {
        return 0;
    }

    /** Does a piece of that work; different ones are done by several threads at once. */
    default void prepare(int piece) {}

    /**
     * Writes rows {@code k0} to {@code k0 + kc} of columns {@code n0} to {@code n0 + nr} to {@code panel}: element
     * {@code (k, n)} at {@code (k − k0)·MatMul.NR + (n − n0)}. Columns from {@code nr} to {@code NR} are
     * zero. Called by several threads at once.
     *
     * @param kc at most {@code MatMul.KC}; {@code k0} is a multiple of KC
     * @param nr at most NR; {@code n0} is a multiple of NR
     * @param panel KC · NR long; what is behind the rows asked for may be overwritten
     * @param scratch the calling thread's, for whatever the source needs
     */
    void pack(int k0, int kc, int n0, int nr, float[] panel, PanelScratch scratch);

    /** Gives back what the source has made for the product: it is not used after that. Nothing, unless it says so. */
    @Override
    default void close() {}
}
