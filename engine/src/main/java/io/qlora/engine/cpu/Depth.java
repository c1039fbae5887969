package io.qlora.engine.cpu;

import java.util.List;

/**
 * The sum of a product, one term after the other, cut into blocks of at most {@link MatMul#KC}, none of which runs across
 * two terms.
 */
final class Depth {

    /** Number of blocks. */
    final int blocks;

    private final int[] term; // by block
    private final int[] from; // first index of its term's sum
    private final int[] length;
    private final int[] offset; // lengths of the blocks before it, and of all at the end

    private Depth(int blocks) {
        this.blocks = blocks;
        this.term = new int[blocks];
        this.from = new int[blocks];
        this.length = new int[blocks];
        this.offset = new int[blocks + 1];
    }

    static Depth of(List<Term> terms) {
        int blocks = 0;
        for (Term each : terms) {
            blocks += Math.ceilDiv(each.left().depth(), MatMul.KC);
        }
        Depth depth = new Depth(blocks);
        int b = 0;
        for (int t = 0; t < terms.size(); t++) {
            int end = terms.get(t).left().depth();
            for (int k = 0; k < end; k += MatMul.KC, b++) {
                depth.term[b] = t;
                depth.from[b] = k;
                depth.length[b] = Math.min(MatMul.KC, end - k);
                depth.offset[b + 1] = depth.offset[b] + depth.length[b];
            }
        }
        return depth;
    }

    /** The term that block {@code b} is of. */
    int term(int b) {
        return term[b];
    }

    /** Where block {@code b} begins in its term's sum. */
    int from(int b) {
        return from[b];
    }

    /** Length of block {@code b}. */
    int length(int b) {
        return length[b];
    }

    /** Length of all blocks before block {@code b}. */
    int offset(int b) {
        return offset[b];
    }

    /** Length of all blocks. */
    int total() {
        return offset[blocks];
    }

    /** Number of blocks of the terms before {@code t}. */
    int blocksBefore(int t) {
        int b = 0;
        while (b < blocks && term[b] < t) {
            b++;
        }
        return b;
    }
}
