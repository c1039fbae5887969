/** Tensors, the tape, every op with its CPU kernels, optimizers, and safetensors files. */
@SuppressWarnings("module") // those it exports to are made after it
module io.qlora.engine {
    requires static transitive jdk.incubator.vector;
    requires transitive com.fasterxml.jackson.databind;

    exports io.qlora.engine.autograd;
    exports io.qlora.engine.cpu;
    exports io.qlora.engine.files;
    exports io.qlora.engine.memory;
    exports io.qlora.engine.nn;
    exports io.qlora.engine.ops;
    exports io.qlora.engine.optim;
    exports io.qlora.engine.safetensors;
    exports io.qlora.engine.scalar to
            io.qlora.cuda,
            io.qlora.llama,
            io.qlora.lora,
            io.qlora.quantization;
    exports io.qlora.engine.tensor;

    uses io.qlora.engine.tensor.Accelerator;
    uses io.qlora.engine.tensor.KernelProvider;

    provides io.qlora.engine.tensor.KernelProvider with
            io.qlora.engine.cpu.CpuKernels,
            io.qlora.engine.scalar.ScalarKernels;
}
