package io.qlora.trainer;

import io.qlora.llama.LlamaTokenizer;
import io.qlora.trainer.data.Encoding;

/** A model's tokenizer, as data sets want it. */
record TokenizerEncoding(LlamaTokenizer tokenizer) implements Encoding {

    @Override
    public int[] encode(String text) {
        return tokenizer.encode(text);
    }

    @Override
    public int bos() {
        return tokenizer.bosId();
    }

    @Override
    public int eos() {
        return tokenizer.eosId();
    }
}
