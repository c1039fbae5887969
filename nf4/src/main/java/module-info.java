/** 4-bit NormalFloat: codebook, block and double quantisation, and the frozen 4-bit linear. */
module io.qlora.quantization {
    requires transitive io.qlora.engine;
    requires static jdk.incubator.vector;

    exports io.qlora.nf4;
    exports io.qlora.nf4.cpu;

    provides io.qlora.engine.tensor.KernelProvider with
            io.qlora.nf4.cpu.Nf4Kernels;
}
