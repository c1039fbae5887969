package io.qlora.trainer.data;

import io.qlora.llama.LlamaTokenizer;

/** A model's tokenizer, as data sets want it. */
public record TokenizerEncoding(LlamaTokenizer tokenizer) implements Encoding {

    @Override
    public int[] encode(String text) {
        return tokenizer.encode(text);
    }

    @Override
    public int bos() {
        return tokenizer.bosId().orElse(-1);
    }

    @Override
    public int eos() {
        return tokenizer.eosId().orElse(-1);
    }
}
