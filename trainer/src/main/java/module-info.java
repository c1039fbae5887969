/** Data sets, batches, the training loop, checkpoints: fine-tuning as a library. */
module io.qlora.trainer {
    requires transitive io.qlora.engine;
    requires transitive io.qlora.llama;
    requires transitive io.qlora.lora;
    requires io.qlora.quantization;
    requires com.fasterxml.jackson.databind;
    requires java.management;
    requires jdk.jfr;
    requires jdk.management;

    exports io.qlora.trainer;
    exports io.qlora.trainer.data;
    exports io.qlora.trainer.profile;
}
