/** The CUDA backend: kernels, and the driver seen from Java. Found by the engine as a service. */
module io.qlora.cuda {
    requires transitive io.qlora.engine;
    requires io.qlora.lora;
    requires io.qlora.quantization;
    requires static jcublas;
    requires static jcuda;

    exports io.qlora.cuda;
    exports io.qlora.cuda.bench;
    exports io.qlora.cuda.blas;
    exports io.qlora.cuda.driver;

    provides io.qlora.engine.tensor.Accelerator with
            io.qlora.cuda.CudaAccelerator;
    provides io.qlora.engine.tensor.KernelProvider with
            io.qlora.cuda.kernels.CudaKernels;
}
