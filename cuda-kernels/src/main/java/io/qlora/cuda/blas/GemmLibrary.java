package io.qlora.cuda.blas;

/** NVIDIA's dense products, by one of the ways to call them. On one device and its stream, by the thread it belongs to. */
public interface GemmLibrary extends AutoCloseable {

    /** As in reports, with its version: {@code cuBLASLt 13.1.0}. */
    String name();

    /** Whether there is an algorithm for this product. */
    boolean takes(Gemm product);

    /**
     * Begins a product that it takes.
     *
     * @throws io.qlora.cuda.driver.CudaException if the library refuses
     */
    void multiply(Gemm product);

    @Override
    void close();
}
