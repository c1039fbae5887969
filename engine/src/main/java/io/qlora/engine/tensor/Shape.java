package io.qlora.engine.tensor;

import java.util.Arrays;
import java.util.stream.Collectors;

/** The extents of a row-major, contiguous tensor, outermost first. Immutable. */
public final class Shape {

    private final long[] dims;
    private final long size;

    private Shape(long[] dims) {
        long product = 1;
        for (long dim : dims) {
            if (dim < 0) {
                throw new IllegalArgumentException("negative extent in " + Arrays.toString(dims));
            }
            product = Math.multiplyExact(product, dim);
        }
        this.dims = dims;
        this.size = product;
    }

    /**
     * The shape with these extents; none at all is a scalar.
     *
     * @throws IllegalArgumentException if an extent is negative
     * @throws ArithmeticException if the number of elements does not fit in a long
     */
    public static Shape of(long... dims) {
        return new Shape(dims.clone());
    }

    /** Number of dimensions. */
    public int rank() {
        return dims.length;
    }

    /** Extent of dimension {@code i}; negative counts from the innermost, -1. */
    public long dim(int i) {
        return dims[i < 0 ? dims.length + i : i];
    }

    /** Number of elements. */
    public long size() {
        return size;
    }

    /** The extents, outermost first, as a copy. */
    public long[] dims() {
        return dims.clone();
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Shape shape && Arrays.equals(dims, shape.dims);
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(dims);
    }

    /** As in error messages: {@code [2048, 8192]}. */
    @Override
    public String toString() {
        return Arrays.stream(dims).mapToObj(Long::toString).collect(Collectors.joining(", ", "[", "]"));
    }
}
