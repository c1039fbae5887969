package io.qlora.llama;

/** A model gave logits that are not finite, so that no token follows. */
public final class NonFiniteLogitsException extends RuntimeException {

    private static final long serialVersionUID = 1L;

    NonFiniteLogitsException(int token, float logit) {
        super("the logit of token " + token + " is " + logit
                + ": the weights of the model or of an adapter are damaged, or the adapter is another model's");
    }
}
