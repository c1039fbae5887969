package io.qlora.engine.cpu;

import java.util.List;

/**
 * The sum of a product, one term after the other, cut into blocks of at most {@link MatMul#KC}, none of which runs across
 * two terms. Blocks that are short enough together are computed in one go, as a group: an adapter's few terms cost no pass
 * over the result of their own.
 */
final class Depth {

    /** Number of blocks. */
    final int blocks;

    /** Number of groups of blocks. */
    final int groups;

    private final int[] term; // by block
    private final int[] from; // first index of its term's sum
    private final int[] length;
    private final int[] group;
    private final int[] column; // lengths of the blocks before it in its group
    private final int[] first; // by group, its first block, and the number of blocks at the end

    private Depth(List<Term> terms, int blocks) {
        this.blocks = blocks;
        this.term = new int[blocks];
        this.from = new int[blocks];
        this.length = new int[blocks];
        this.group = new int[blocks];
        this.column = new int[blocks];
        this.first = new int[blocks + 1];
        int b = 0;
        int g = -1;
        int used = MicroKernel.STRIDE; // of the group
        for (int t = 0; t < terms.size(); t++) {
            int end = terms.get(t).left().depth();
            for (int k = 0; k < end; k += MatMul.KC, b++) {
                term[b] = t;
                from[b] = k;
                length[b] = Math.min(MatMul.KC, end - k);
                if (used + length[b] > MicroKernel.STRIDE) {
                    first[++g] = b;
                    used = 0;
                }
                group[b] = g;
                column[b] = used;
                used += length[b];
            }
        }
        this.groups = g + 1;
        this.first[groups] = blocks;
    }

    static Depth of(List<Term> terms) {
        int blocks = 0;
        for (Term each : terms) {
            blocks += Math.ceilDiv(each.left().depth(), MatMul.KC);
        }
        return new Depth(terms, blocks);
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

    /** The group of block {@code b}. */
    int group(int b) {
        return group[b];
    }

    /** Length of the blocks before block {@code b} in its group. */
    int column(int b) {
        return column[b];
    }

    /** The first block of group {@code g}; of the one after the last, the number of blocks. */
    int first(int g) {
        return first[g];
    }

    /** Length of all blocks of group {@code g}. */
    int groupLength(int g) {
        int last = first[g + 1] - 1;
        return column[last] + length[last];
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
