/** Hugging Face directories and their tokenizers, as Llama models. */
module io.qlora.llama {
    requires transitive io.qlora.engine;
    requires io.qlora.quantization;
    requires ai.djl.tokenizers;
    requires com.fasterxml.jackson.databind;
    requires jdk.jfr;

    exports io.qlora.llama;
}
