/** Low-rank adapters on linears, and the files in which PEFT keeps them. */
module io.qlora.lora {
    requires transitive io.qlora.engine;
    requires io.qlora.quantization;

    exports io.qlora.lora;

    provides io.qlora.engine.tensor.KernelProvider with
            io.qlora.lora.cpu.LoraKernels;
}
