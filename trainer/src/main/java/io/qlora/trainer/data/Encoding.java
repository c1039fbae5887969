package io.qlora.trainer.data;

/** Turns text into the ids of one model. */
public interface Encoding {

    /**
     * The ids of {@code text}, without the tokens that begin or end a document.
     *
     * @throws IllegalArgumentException in a sentence, if the model has no ids for it
     */
    int[] encode(String text);

    /** The id that begins a document, or −1 when the model has none. */
    int bos();

    /** The id that ends a document, or −1 when the model has none. */
    int eos();
}
