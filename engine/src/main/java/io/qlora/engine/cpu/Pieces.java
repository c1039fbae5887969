package io.qlora.engine.cpu;

import io.qlora.engine.tensor.Tensor;
import java.util.List;

/**
 * Tensors of any sizes, cut into pieces of about equal work, so that one job covers them all. The cut depends on the sizes
 * alone.
 *
 * @param first the number of each tensor's first piece; last, how many there are
 */
record Pieces(int[] first) {

    /** Elements of a piece, but for a tensor's last; a multiple of every vector width. */
    static final int ELEMENTS = 16 << 10;

    static Pieces of(List<Tensor> tensors) {
        int[] first = new int[tensors.size() + 1];
        for (int i = 0; i < tensors.size(); i++) {
            long pieces = (tensors.get(i).size() + ELEMENTS - 1) / ELEMENTS;
            first[i + 1] = Math.toIntExact(first[i] + pieces);
        }
        return new Pieces(first);
    }

    int count() {
        return first[first.length - 1];
    }

    /** Which tensor a piece belongs to. */
    int tensor(int piece) {
        int low = 0;
        int high = first.length - 1;
        while (high - low > 1) { // first[low] <= piece < first[high]
            int middle = (low + high) >>> 1;
            if (first[middle] <= piece) {
                low = middle;
            } else {
                high = middle;
            }
        }
        return low;
    }

    /** The first element of a piece of a tensor. */
    long from(int piece, int tensor) {
        return (long) (piece - first[tensor]) * ELEMENTS;
    }

    /** The end of a piece of a tensor of {@code size} elements. */
    long to(int piece, int tensor, long size) {
        return Math.min(size, from(piece, tensor) + ELEMENTS);
    }
}
